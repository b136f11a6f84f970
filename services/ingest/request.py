"""Request: from what a client sends to the bytes of its message, with a bound on everything that is read."""

import re
import zlib
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from gunicorn.http.errors import ParseException

from services.ingest.errors import IngestError

_JSON_TYPE: Final = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*\Z', re.IGNORECASE)
_GZIP: Final = frozenset(["gzip", "x-gzip"])
_PLAIN: Final = frozenset(["", "identity"])
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_GZIP_WINDOW: Final = 31  # zlib's number for "gzip header, 32 KiB window"
_DISCARDED_PER_LIMIT: Final = 4
_PIECE: Final = 1 << 16

Environ = Mapping[str, Any]


class Stream(Protocol):
    """The body as the server hands it over: ends by itself, by length or last chunk."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; fewer only at the end."""


def read_body(environ: Environ, limit: int) -> bytes:
    """The whole body, inflated, of at most `limit` bytes before and after inflating.

    Raises `IngestError` for another content type or encoding, a larger body or one that ends too early.
    """
    if not _JSON_TYPE.match(environ.get("CONTENT_TYPE", "")):
        raise IngestError("wrong_content_type")
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding in _PLAIN:
        return _read_bounded(environ, limit)
    if encoding in _GZIP:
        return _inflate(_read_bounded(environ, limit), limit)
    raise IngestError("wrong_content_encoding")


def traceparent(environ: Environ) -> str | None:
    """The W3C trace context of the request, or None without a valid one."""
    value = environ.get("HTTP_TRACEPARENT")
    return value if value is not None and _TRACEPARENT.match(value) else None


def wants_words(environ: Environ) -> bool:
    """Whether an error is to be told in words for the person who holds the phone: `?errors=phone`."""
    return "phone" in parse_qs(environ.get("QUERY_STRING", "")).get("errors", [])


def _read_bounded(environ: Environ, limit: int) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    declared = int(length) if length.isdecimal() else None
    stream: Stream = environ["wsgi.input"]
    try:
        if declared is not None and declared > limit:
            body = b""
        elif len(body := stream.read(limit + 1)) <= limit:
            if declared is not None and len(body) < declared:
                raise IngestError("body_incomplete")
            return body
        _discard(stream, declared, limit)
    except OSError:
        raise IngestError("body_incomplete") from None
    except ParseException:
        raise IngestError("bad_request", "The body is not valid chunked encoding.") from None
    raise IngestError("body_too_large")


def _discard(stream: Stream, declared: int | None, limit: int) -> None:
    """Read on for a while: a client that is still sending when the connection closes never sees the answer."""
    left = _DISCARDED_PER_LIMIT * limit
    if declared is None or declared <= left:
        while left > 0 and (piece := stream.read(_PIECE)):
            left -= len(piece)


def _inflate(raw: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = inflater.decompress(raw, limit + 1)
    except zlib.error:
        raise IngestError("bad_gzip") from None
    if len(body) > limit:
        raise IngestError("body_too_large")
    if not inflater.eof or inflater.unused_data:
        raise IngestError("bad_gzip")
    return body
