"""Reply: what is answered to a request, and its bytes."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

from services.common.message import encode_json
from services.ingest.errors import Answer, Code, IngestError

JSON: Final = "application/json"
CHALLENGE: Final = 'Bearer realm="sensor data", Basic realm="sensor data"'
"""WWW-Authenticate of every 401."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_SHOWN_BY_APP: Final = 499
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {_STATUS_SHOWN_BY_APP: "Not Accepted"}


Fields = tuple[tuple[str, str], ...]


class Reply(NamedTuple):
    """Status, header fields and body; `own` are the fields that no other reply has: the names of its request."""

    status: int
    fields: Fields
    body: bytes
    own: Fields = ()


ACCEPTED: Final = Reply(200, (("Content-Type", JSON),), b'{"status":"ok"}')


def refusal(error: IngestError, in_words: bool = False) -> Reply:
    """The reply to a refused request; in words for the person who holds the phone where the URL asks for them."""
    return _refusal(error.code, error.detail, error.answer, error.allow, in_words)


@lru_cache(maxsize=256)  # a full load is refused with the same words again and again
def _refusal(code: Code, detail: str, answer: Answer, allow: str | None, in_words: bool) -> Reply:
    if in_words and answer.phone is not None:
        return Reply(
            _STATUS_SHOWN_BY_APP, (("Content-Type", "text/plain; charset=utf-8"),), f"{answer.phone}\n".encode()
        )
    fields = [("Content-Type", JSON)]
    if answer.retry_after_s is not None:
        fields.append(("Retry-After", str(answer.retry_after_s)))
    if answer.status == 401:
        fields.append(("WWW-Authenticate", CHALLENGE))
    if allow is not None:
        fields.append(("Allow", allow))
    return Reply(answer.status, tuple(fields), encode_json({"error": code, "detail": detail}))


def encode(reply: Reply, *, last: bool, asked_by_1_0: bool = False, without_body: bool = False) -> bytes:
    """The bytes of a reply; `last` says that the connection ends with it, `without_body` that it answers a HEAD."""
    connection = "Connection: close\r\n" if last else "Connection: keep-alive\r\n" if asked_by_1_0 else ""
    shared = _shared_lines(reply.status, reply.fields, len(reply.body))
    head = f"{shared}Date: {_date.now()}\r\n{_lines(reply.own)}{connection}\r\n".encode("latin-1")
    return head if without_body else head + reply.body


@lru_cache(maxsize=256)
def _shared_lines(status: int, fields: Fields, length: int) -> str:
    """What many replies begin with."""
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n{_lines(fields)}Content-Length: {length}\r\n"


def _lines(fields: Fields) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields)


class _Date:
    """The date of a reply, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_date: Final = _Date()
