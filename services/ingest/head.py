"""Head: from the first bytes of a request to its WSGI environment and the frame of its body.

The usual head is read by one strict regular expression. Whatever that does not match is left to gunicorn's parser,
which knows the rest of HTTP/1 and is slower: what the first reads, the second reads in the same way.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gunicorn.config import Config
from gunicorn.http import errors as http
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from services.ingest.errors import Code, IngestError

MAX_BYTES: Final = 32 << 10
"""Of a head: far more than any client of ours sends."""
MAX_LINE: Final = 2048
MAX_FIELDS: Final = 64
MAX_FIELD_BYTES: Final = 4096

_END: Final = b"\r\n\r\n"
# No percent sign, no fragment, no second slash, no underscore in a name, no byte beyond ASCII: nothing to interpret.
_USUAL: Final = re.compile(
    rb"(GET|POST) (/(?!/)[!\"$&-~]*) HTTP/1\.1\r\n((?:[!$&'*+\-.^`|~0-9A-Za-z]+:[\t -~]*\r\n){1,%d})\r\n" % MAX_FIELDS
)
_LONGEST_USUAL: Final = MAX_LINE  # so that no line of it can be longer than its own limit
_NEEDS_THOUGHT: Final = frozenset(["HTTP_TRANSFER_ENCODING", "HTTP_EXPECT"])
_CODES: Final[dict[type[Exception], Code]] = {
    http.LimitRequestLine: "address_too_long",
    http.LimitRequestHeaders: "head_too_large",
}


class Head(NamedTuple):
    """What a head says. `length` is that of the body in bytes, or None where it comes in chunks."""

    environ: dict[str, Any]
    length: int | None
    keep_alive: bool
    expects_continue: bool


def parser_settings() -> Config:
    """gunicorn's settings for the heads that its parser reads."""
    config = Config()
    config.set("limit_request_line", MAX_LINE)
    config.set("limit_request_fields", MAX_FIELDS)
    config.set("limit_request_field_size", MAX_FIELD_BYTES)
    config.set("forwarded_allow_ips", "")  # nobody here asks for the scheme
    return config


_config: Final = parser_settings()


def take_head(buffer: bytearray) -> Head | None:
    """Read a head and remove it from the buffer; None while it is not whole.

    Raises `IngestError` when it is not valid HTTP or larger than it may be.
    """
    end = buffer.find(_END)
    if end < 0:
        if len(buffer) > MAX_BYTES:
            raise IngestError(_why_endless(bytes(buffer)))
        return None
    data = bytes(buffer[: end + len(_END)])
    head = read_usual(data) or read_any(data)
    del buffer[: len(data)]
    return head


def read_whole(data: bytes) -> Head | None:
    """Read the head of a usual request that has come whole, and alone; None for anything else."""
    end = data.find(_END) + len(_END)
    head = read_usual(data[:end])
    return head if head is not None and head.length == len(data) - end else None


def read_usual(data: bytes) -> Head | None:
    """Read a whole head, or return None if it has anything that needs thought."""
    if len(data) > _LONGEST_USUAL or not (match := _USUAL.fullmatch(data)):
        return None
    method, target, fields = match.groups()
    environ = {"REQUEST_METHOD": method.decode(), "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": ""}
    environ["PATH_INFO"], _, environ["QUERY_STRING"] = target.decode().partition("?")
    for line in fields.decode()[:-2].split("\r\n"):
        name, _, value = line.partition(":")
        key = _key(name)
        if key in environ or key in _NEEDS_THOUGHT:
            return None
        environ[key] = value.strip(" \t")
    length = environ.get("CONTENT_LENGTH", "0")
    if (
        not length.isdecimal()
        or len(length) > 12
        or environ.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return Head(environ, int(length), keep_alive=True, expects_continue=False)


def read_any(data: bytes) -> Head:
    """Read a whole head by gunicorn's parser. Raises `IngestError`."""
    try:
        request = Request(_config, IterUnreader([data]), ("", 0))
    except (http.ParseException, StopIteration) as error:
        raise IngestError(_CODES.get(type(error), "bad_request")) from None
    environ = _fields(request.headers) | {
        "REQUEST_METHOD": request.method,
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
    }
    reader = request.body.reader
    length = None if isinstance(reader, ChunkedReader) else reader.length
    return Head(environ, length, not request.should_close(), request._expected_100_continue)


def _fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by their names in a WSGI environment; those that come again are joined."""
    environ: dict[str, str] = {}
    for name, value in headers:
        key = _key(name)
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


@lru_cache(maxsize=512)
def _key(field: str) -> str:
    name = field.upper()
    return name.replace("-", "_") if name in {"CONTENT-TYPE", "CONTENT-LENGTH"} else f"HTTP_{name.replace('-', '_')}"


def _why_endless(data: bytes) -> Code:
    line = data.find(b"\r\n")
    return "address_too_long" if line < 0 or line > MAX_LINE else "head_too_large"
