"""Reply: what is answered to a request, and its bytes."""

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

from services.common.message import encode_json
from services.ingest.errors import IngestError

JSON: Final = "application/json"
CHALLENGE: Final = 'Bearer realm="sensor data", Basic realm="sensor data"'
"""WWW-Authenticate of every 401."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_SHOWN_BY_APP: Final = 499
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {_STATUS_SHOWN_BY_APP: "Not Accepted"}


class Reply(NamedTuple):
    """Status, header fields and body."""

    status: int
    fields: Sequence[tuple[str, str]]
    body: bytes


ACCEPTED: Final = Reply(200, [("Content-Type", JSON)], b'{"status":"ok"}')


def refusal(error: IngestError, in_words: bool = False) -> Reply:
    """The reply to a refused request; in words for the person who holds the phone where the URL asks for them."""
    answer = error.answer
    if in_words and answer.phone is not None:
        return Reply(
            _STATUS_SHOWN_BY_APP, [("Content-Type", "text/plain; charset=utf-8")], f"{answer.phone}\n".encode()
        )
    fields = [("Content-Type", JSON)]
    if answer.retry_after_s is not None:
        fields.append(("Retry-After", str(answer.retry_after_s)))
    if answer.status == 401:
        fields.append(("WWW-Authenticate", CHALLENGE))
    if error.allow is not None:
        fields.append(("Allow", error.allow))
    return Reply(answer.status, fields, encode_json({"error": error.code, "detail": error.detail}))


def encode(reply: Reply, *, last: bool, asked_by_1_0: bool = False, without_body: bool = False) -> bytes:
    """The bytes of a reply; `last` says that the connection ends with it, `without_body` that it answers a HEAD."""
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}", f"Date: {_date.now()}"]
    lines += [f"{name}: {value}" for name, value in reply.fields]
    lines.append(f"Content-Length: {len(reply.body)}")
    if last:
        lines.append("Connection: close")
    elif asked_by_1_0:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if without_body else head + reply.body


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
