"""Server: one thread that looks after all connections of a worker, so that a slow client costs its own place alone."""

import logging
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.ingest import metrics
from services.ingest.app import Service
from services.ingest.connection import Connection, State
from services.ingest.errors import IngestError
from services.ingest.exchange import Exchange
from services.ingest.head import read_whole
from services.ingest.log_limit import LimitedLog
from services.ingest.reply import Reply, encode
from services.ingest.request import Environ, client_address

_POLL_S: Final = 0.001
_LOOK_AROUND_S: Final = 0.25
_CALLS_BETWEEN_POLLS: Final = 16
_ACCEPTED_AT_ONCE: Final = 64
_MOST_WAIT_FOR_A_TURN_S: Final = 0.35
_SEND_BUFFER_BYTES: Final = 1 << 16  # or a client that reads nothing would be lent megabytes by the kernel

log = logging.getLogger("services.ingest")


class Server:
    """Accepts connections and calls them when they can go on. Each `turn` calls each connection that is ready once."""

    def __init__(self, listeners: Sequence[socket.socket], service: Service, wake: int) -> None:
        self.settings = service.settings
        self.stopping = False
        self.held_bytes = 0
        self.now = time.monotonic()
        self._service = service
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake, selectors.EVENT_READ)
        self._listeners = list(listeners)
        for listener in listeners:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # its connections inherit it
            self._selector.register(listener, selectors.EVENT_READ)
        self._connections: set[Connection] = set()
        self._watched: set[Connection] = set()
        self._errors = LimitedLog(period_s=10)
        self._again: list[Connection] = []
        self._look_around_at = self._turn_began = 0.0

    # --- what the worker calls

    def turn(self) -> None:
        """Wait until something is to be done, and do it once for every connection."""
        events = self._selector.select(self._patience())
        self.now = self._turn_began = time.monotonic()
        again, self._again = self._again, []
        for connection in again:
            self._call(connection, connection.go_on)
        for number, (key, mask) in enumerate(events, 1):
            self.now = time.monotonic()
            if key.data is not None:
                self._call(key.data, key.data.on_writable if mask & selectors.EVENT_WRITE else key.data.on_readable)
            if number % _CALLS_BETWEEN_POLLS == 0:
                self._service.poll()
        self._service.poll()
        for key, _ in events:
            if key.fileobj in self._listeners:  # newcomers come last: who is idle then has had its turn
                self._accept(key.fileobj)
            elif key.data is None:
                os.read(key.fd, 1024)
        if self.now >= self._look_around_at:
            self._look_around()

    def stop(self) -> None:
        """Accept nobody any more; what has begun goes on."""
        self.stopping = True
        for listener in self._listeners:
            self._accept(listener)
            self._selector.unregister(listener)
            listener.close()
        self._listeners.clear()
        for connection in list(self._connections):
            connection.stop()

    @property
    def empty(self) -> bool:
        """Whether there is no connection."""
        return not self._connections

    def close(self) -> None:
        """Let all clients go."""
        for connection in list(self._connections):
            connection.close()

    # --- what a connection calls

    def begin(self, environ: Environ, answer: Callable[[Reply], None]) -> Exchange:
        """Begin an exchange; one that has waited too long for its turn is not worth beginning."""
        return self._service.begin(environ, answer, late=self._is_late)

    def turn_away(self, data: bytes, address: str) -> bytes | None:
        """The reply to a message that has come whole and is one too many; None for all else.

        Under a full load refusing is what costs: what is refused here never becomes an exchange.
        """
        if self.stopping or not (self._is_late or self._service.full):
            return None
        head = read_whole(data)
        if head is None:
            return None
        address = client_address(head.environ, address, forwarded=self.settings.trust_forwarded_for)
        reply = self._service.turn_away(head.environ, address)
        return encode(reply, last=False) if reply else None

    def refuse(self, error: IngestError, address: str) -> Reply:
        """Note that what came was no request."""
        return self._service.refuse(error, address)

    def watch(self, connection: Connection, *, read: bool, write: bool) -> None:
        """Call the connection when it can be read or written; a selector does not take "neither"."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        if connection in self._watched:
            if events:
                self._selector.modify(connection, events, connection)
                return
            self._selector.unregister(connection)
            self._watched.discard(connection)
        elif events:
            self._selector.register(connection, events, connection)
            self._watched.add(connection)

    def call_again(self, connection: Connection) -> None:
        """Call the connection in the next turn, whether it can be read or not."""
        self._again.append(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is about to be closed."""
        self.watch(connection, read=False, write=False)
        self._connections.discard(connection)

    # --- steps of a turn

    @property
    def _is_late(self) -> bool:
        """Whether who is called now has waited too long for the turn."""
        return self.now - self._turn_began > _MOST_WAIT_FOR_A_TURN_S

    def _patience(self) -> float:
        if self._again:
            return 0
        if self._service.waiting:
            return _POLL_S
        return max(0.0, self._look_around_at - time.monotonic())

    def _call(self, connection: Connection, step: Callable[[], None]) -> None:
        """A fault of our own costs one connection."""
        if connection.state is State.CLOSED:
            return
        try:
            step()
        except Exception:
            log.exception("a connection is closed because of an unexpected error")
            connection.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._errors.write(logging.ERROR, "accept", f"a connection cannot be accepted: {error.strerror}")
                self._make_room()
                return
            if len(self._connections) >= self.settings.max_connections and not self._make_room():
                client.close()
                metrics.record_error("overloaded")
                continue
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, client, address[0])
            self._connections.add(connection)
            self.watch(connection, read=True, write=False)

    def _make_room(self) -> bool:
        """Let some clients go that send nothing, those first that would be let go first anyway."""
        idle = [one for one in self._connections if one.state in {State.IDLE, State.HEAD, State.END}]
        idle.sort(key=lambda connection: connection.deadline)
        silent = [one for one in idle[: 1 + len(idle) // 32] if one.silent]
        for connection in silent:
            connection.close()
        return bool(silent)

    def _look_around(self) -> None:
        """What is to be done now and then."""
        self._look_around_at = self.now + _LOOK_AROUND_S
        metrics.record_connections(len(self._connections))
        for connection in list(self._connections):
            if connection.deadline <= self.now:
                self._call(connection, connection.expire)
