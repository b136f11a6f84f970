"""What ingest answers to: messages by a way of their own, all else by Flask."""

import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from services.common.telemetry import Tracing
from services.ingest.admission import Admission
from services.ingest.errors import IngestError
from services.ingest.exchange import REQUEST_ID, Answer, Desk, Exchange, MessageExchange, PageExchange, new_request_id
from services.ingest.producer import Publisher
from services.ingest.reply import ACCEPTED, JSON, Reply
from services.ingest.request import Environ
from services.ingest.settings import IngestSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_PATH: Final = "/sensor_data"
_OVERLOADED: Final = IngestError("overloaded")
_WSGI: Final[Environ] = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "SERVER_NAME": "ingest",
    "SERVER_PORT": "80",
}


class Service:
    """The application of one worker, which asks it one request after the other, all in one thread.

    gunicorn wants a WSGI application; called as one it answers with Flask's pages, and takes no messages.
    """

    def __init__(self, settings: IngestSettings, admission: Admission, publisher: Publisher, tracing: Tracing) -> None:
        self._desk = Desk(settings, admission, publisher, tracing)
        self._pages = make_pages(admission, publisher)
        self._turned_away: Final = Exchange.ended(self._desk)
        self.settings: Final = settings

    def begin(self, environ: Environ, answer: Answer, late: bool = False) -> Exchange:
        """Begin the exchange of a request whose head has come; `late` if it had to wait too long for its turn.

        Messages that are too many at the same time are refused before anything is made for them.
        """
        exchange: Exchange
        if _is_message(environ):
            if late or self.full:
                answer(self.refuse(_OVERLOADED, environ["REMOTE_ADDR"]))
                return self._turned_away
            exchange = MessageExchange(self._desk, environ, answer)
        else:
            exchange = PageExchange(self._desk, environ, answer, self._page)
        exchange.begin()
        return exchange

    @property
    def full(self) -> bool:
        """Whether as many messages are being handled as may be."""
        return self._desk.full

    def turn_away(self, environ: Environ, address: str) -> Reply | None:
        """The reply to a message that is one too many; None for other requests."""
        return self.refuse(_OVERLOADED, address) if _is_message(environ) else None

    def refuse(self, error: IngestError, address: str) -> Reply:
        """The reply to what has no exchange: it was no request, or is one too many."""
        request_id = new_request_id()
        reply = self._desk.refuse(error, {"request": request_id, "address": address})
        return reply._replace(own=((REQUEST_ID, request_id),))

    def poll(self) -> None:
        """Take in what Kafka has acknowledged: ends the exchanges that wait for it."""
        self._desk.publisher.poll()

    @property
    def waiting(self) -> bool:
        """Whether an exchange waits for Kafka."""
        return self._desk.in_flight > 0

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return self._pages(environ, start_response)

    def _page(self, environ: Environ, body: bytes) -> Reply:
        """The reply of Flask. Raises `IngestError` for an address or a method that there is not."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, fields: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            started.append((status, fields))
            return lambda _: None

        try:
            content = b"".join(self._pages({**_WSGI, **environ, "wsgi.input": BytesIO(body)}, start))
        except HTTPException:  # Flask reads parts of the request before its own error handlers
            raise IngestError("bad_request") from None
        status, fields = started[-1]
        return Reply(int(status[:3]), tuple(field for field in fields if field[0] != "Content-Length"), content)


def _is_message(environ: Environ) -> bool:
    return (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("POST", _PATH)


def make_pages(admission: Admission, publisher: Publisher) -> Flask:
    """The addresses that are not for messages."""
    pages = Flask("services.ingest", static_folder=None)
    pages.config.update(PROPAGATE_EXCEPTIONS=True, PROVIDE_AUTOMATIC_OPTIONS=False)

    @pages.get("/livez")
    def livez() -> Response:
        return Response(ACCEPTED.body, content_type=JSON)

    @pages.get("/readyz")
    def readyz() -> tuple[Response, int]:
        checks = publisher.checks() | admission.checks()
        ready = all(state == "ok" for state in checks.values())
        return jsonify(status="ok" if ready else "unavailable", checks=checks), 200 if ready else 503

    @pages.post(_PATH)
    def sensor_data() -> Response:
        raise AssertionError("messages do not come this way")

    @pages.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Any:
        match error:
            case NotFound():
                raise IngestError("not_found")
            case MethodNotAllowed():
                raise IngestError("method_not_allowed", allow=", ".join(sorted(error.valid_methods or ())))
        raise IngestError("bad_request")

    return pages
