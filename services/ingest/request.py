"""Request: what its head says about its body, and the bytes of the message."""

import ipaddress
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from services.ingest.errors import IngestError

_JSON_TYPE: Final = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*\Z', re.IGNORECASE)
_GZIP: Final = frozenset(["gzip", "x-gzip"])
_PLAIN: Final = frozenset(["", "identity"])
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_GZIP_WINDOW: Final = 31  # zlib's number for "gzip header, 32 KiB window"

Environ = Mapping[str, Any]


def check_content(environ: Environ) -> None:
    """Raise `IngestError` unless the head announces JSON, as it is or as gzip."""
    if not _JSON_TYPE.match(environ.get("CONTENT_TYPE", "")):
        raise IngestError("wrong_content_type")
    if _encoding(environ) not in _PLAIN | _GZIP:
        raise IngestError("wrong_content_encoding")


def inflate_body(environ: Environ, body: bytes, limit: int) -> bytes:
    """The body as the app made it: inflated, to at most `limit` bytes, where it came as gzip. Raises `IngestError`."""
    return _inflate(body, limit) if _encoding(environ) in _GZIP else body


def traceparent(environ: Environ) -> str | None:
    """The W3C trace context of the request, or None without a valid one."""
    value = environ.get("HTTP_TRACEPARENT")
    return value if value is not None and _TRACEPARENT.match(value) else None


def client_address(environ: Environ, peer: str, *, forwarded: bool) -> str:
    """The address of the connection's other end, `peer`; if requests are `forwarded`, the one that the edge tells."""
    if not forwarded:
        return peer
    try:
        return str(ipaddress.ip_address(environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()))
    except ValueError:
        return peer


def wants_words(environ: Environ) -> bool:
    """Whether an error is to be told in words for the person who holds the phone: `?errors=phone`."""
    query = environ.get("QUERY_STRING", "")
    return "errors" in query and "phone" in parse_qs(query).get("errors", [])


def _encoding(environ: Environ) -> str:
    encoding: str = environ.get("HTTP_CONTENT_ENCODING", "")
    return encoding.strip().lower()


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
