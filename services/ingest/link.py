"""Link: the socket of one client. Keeps what the client does not take yet, and says what to look for."""

import socket
from typing import Final

_RECEIVED_AT_ONCE: Final = 1 << 16


class Link:
    """A socket that never waits. Its methods raise `OSError` when the client is gone."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._looking = (True, False)
        self._output = b""

    def fileno(self) -> int:
        """For the server's selector."""
        return self._socket.fileno()

    @property
    def blocked(self) -> bool:
        """Whether something is left that the client has not taken."""
        return bool(self._output)

    @property
    def silent(self) -> bool:
        """Whether nothing that the client has sent waits to be received."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def receive(self) -> bytes | None:
        """What the client has sent: None for nothing yet, empty when it has said all."""
        try:
            return self._socket.recv(_RECEIVED_AT_ONCE)
        except BlockingIOError:
            return None

    def send(self, data: bytes) -> None:
        """Send as much as the client takes, and the rest when it takes more."""
        self._output += data
        self.flush()

    def flush(self) -> None:
        """Send more of what is left."""
        if self._output:
            try:
                self._output = self._output[self._socket.send(self._output) :]
            except BlockingIOError:
                return

    def say_all(self) -> None:
        """Let the client see the end; what it still sends can be received."""
        self._socket.shutdown(socket.SHUT_WR)

    def look_for(self, *, more: bool) -> tuple[bool, bool] | None:
        """What to look for from now on, input and room for output; None if that has not changed.

        `more`: whether more is wanted from the client; it waits while the client does not take what it was sent.
        """
        looking = (more and not self._output, bool(self._output))
        if looking == self._looking:
            return None
        self._looking = looking
        return looking

    def close(self) -> None:
        """Close at once."""
        self._socket.close()
