"""Body: takes what belongs to a request's body out of what a connection has received, piece by piece."""

import re
from typing import Final

from services.ingest.errors import IngestError

_MAX_LINE: Final = 1024
_MAX_CHUNKS: Final = 16_384
_MAX_TRAILERS: Final = 16
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")


class _Data:
    """What has been taken of a body: `data`, and its `size`, which counts on when the data is dropped."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self._keep = True

    def drop(self) -> None:
        """Forget what was taken, and keep nothing of what is still to come."""
        self.data = bytearray()
        self._keep = False

    def _move(self, buffer: bytearray, most: int) -> int:
        taken = min(most, len(buffer))
        if self._keep:
            self.data += memoryview(buffer)[:taken]
        del buffer[:taken]
        self.size += taken
        return taken


class LengthBody(_Data):
    """A body whose length was announced."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length

    @property
    def complete(self) -> bool:
        """Whether all of it has been taken."""
        return self._left == 0

    def take(self, buffer: bytearray) -> None:
        """Move what belongs to the body out of the buffer."""
        self._left -= self._move(buffer, self._left)


class ChunkedBody(_Data):
    """A body in chunks (RFC 9112, section 7.1). Extensions and trailers are read and ignored."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self._left = 0
        self._read_line = self._read_size
        self._chunks = 0
        self._trailers = 0

    def take(self, buffer: bytearray) -> None:
        """Move what belongs to the body out of the buffer. Raises `IngestError` where the chunks are broken."""
        while not self.complete:
            if self._left:
                self._left -= self._move(buffer, self._left)
                if self._left:
                    return
            if self._read_line == self._read_end and not b"\r\n".startswith(buffer[:2]):
                raise _broken()
            line = _take_line(buffer)
            if line is None:
                return
            self._read_line(line)

    def _read_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        self._chunks += 1
        if not match or self._chunks > _MAX_CHUNKS:
            raise _broken()
        self._left = int(match[1], 16)
        self._read_line = self._read_end if self._left else self._read_trailer

    def _read_end(self, line: bytes) -> None:
        if line:
            raise _broken()
        self._read_line = self._read_size

    def _read_trailer(self, line: bytes) -> None:
        self._trailers += 1
        if not line:
            self.complete = True
        elif not _TRAILER.fullmatch(line) or self._trailers > _MAX_TRAILERS:
            raise _broken()


def _take_line(buffer: bytearray) -> bytes | None:
    """A line without its end, out of the buffer; None while it is not whole."""
    end = buffer.find(b"\n", 0, _MAX_LINE)
    if end < 0:
        if len(buffer) >= _MAX_LINE:
            raise _broken()
        return None
    line = bytes(buffer[: end + 1])
    if not line.endswith(b"\r\n"):
        raise _broken()
    del buffer[: end + 1]
    return line[:-2]


def _broken() -> IngestError:
    return IngestError("bad_request", "The body is not valid chunked encoding.")


Body = LengthBody | ChunkedBody
