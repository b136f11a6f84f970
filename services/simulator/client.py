"""One phone's connection to the target: kept alive between messages, made anew when it breaks."""

import http.client
import select
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_RETRY_STATUSES = frozenset({408, 429, 502, 503, 504})
_LONGEST_DETAIL = 300


class TargetError(Exception):
    """The target is not a URL that messages can be posted to. The text is one line."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where messages go, and how. `timeout` is in seconds."""

    url: str
    token: str | None
    ca_file: str | None
    timeout: float

    @property
    def headers(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", "User-Agent": "sensor-stream-simulator", **authorization}


def read_token(file: Path) -> str:
    """The token in `file`. Raises `TargetError` if it cannot be one, and `OSError`."""
    token = file.read_bytes().strip().decode(errors="replace")
    if not token or not token.isascii() or not token.isprintable():
        raise TargetError(f"--token-file {file} must hold one line of printable ASCII characters")
    return token


class Answer(NamedTuple):
    """What became of one POST. Without an answer `status` is None and `detail` says why."""

    status: int | None
    detail: str
    retry_after: float | None  # seconds that the server asks to wait

    @property
    def acknowledged(self) -> bool:
        return self.status == 200

    @property
    def try_again(self) -> bool:
        """The same message may be accepted later."""
        return self.status is None or self.status in _RETRY_STATUSES


class Client:
    """Posts message bodies one after the other. Raises `TargetError` for a URL that cannot be one."""

    def __init__(self, target: Target) -> None:
        self._connection = _make_connection(target)
        parts = urlsplit(target.url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = target.headers

    def post(self, body: bytes) -> Answer:
        """Send the body once and wait for the answer. Never raises for what the network or the server does."""
        if self._was_closed():
            self.close()
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(None, _cause(error), None)
        detail = "" if response.status == 200 else text[:_LONGEST_DETAIL].decode(errors="replace")
        return Answer(response.status, detail, _seconds(response.getheader("Retry-After")))

    def close(self) -> None:
        self._connection.close()

    def _was_closed(self) -> bool:
        """A server closes an idle connection without a word: then there is something to read before any question."""
        if self._connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return bool(poll.poll(0))


def _make_connection(target: Target) -> http.client.HTTPConnection:
    parts = urlsplit(target.url)
    try:
        if parts.scheme == "http" and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=target.timeout)
        if parts.scheme == "https" and parts.hostname:
            context = ssl.create_default_context(cafile=target.ca_file)
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=target.timeout, context=context)
    except ValueError as error:
        raise TargetError(f"--target {target.url}: {error}") from None
    except OSError as error:
        raise TargetError(f"--ca-file {target.ca_file} cannot be used: {error}") from None
    raise TargetError(f"--target {target.url}: give a URL such as http://127.0.0.1:5000/sensor_data")


def _cause(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None  # the other form, a date, is not worth reading: waiting the usual time does as well
