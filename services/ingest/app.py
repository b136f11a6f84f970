"""The HTTP surface: routes, and answers as JSON."""

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from services.common.message import encode_json
from services.ingest import metrics
from services.ingest.admission import CHALLENGE, Admission
from services.ingest.errors import Code, IngestError
from services.ingest.log_limit import LimitedLog
from services.ingest.producer import Publisher
from services.ingest.receive import Receiver
from services.ingest.request import Environ, wants_words
from services.ingest.settings import IngestSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_REQUEST_ID: Final = "ingest.request_id"
_JSON: Final = "application/json"
_STATUS_SHOWN_BY_APP: Final = 499
_OK: Final = b'{"status":"ok"}'

log = logging.getLogger("services.ingest")


def make_app(settings: IngestSettings, admission: Admission, publisher: Publisher) -> Flask:
    """The WSGI application of one worker."""
    app = Flask("services.ingest", static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True, PROVIDE_AUTOMATIC_OPTIONS=False)
    receiver = Receiver(settings, admission, publisher)
    refusals = LimitedLog(period_s=1)

    @app.post("/sensor_data")
    def sensor_data() -> Response:
        receiver.receive(request.environ, request.environ[_REQUEST_ID])
        return Response(_OK, content_type=_JSON)

    @app.get("/livez")
    def livez() -> Response:
        return Response(_OK, content_type=_JSON)

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        checks = publisher.checks() | admission.checks()
        ready = all(state == "ok" for state in checks.values())
        return jsonify(status="ok" if ready else "unavailable", checks=checks), 200 if ready else 503

    @app.errorhandler(IngestError)
    def refuse(error: IngestError) -> Response:
        who = {"token": error.token} if error.token else {}
        where = {"request": request.environ[_REQUEST_ID], "address": request.remote_addr}
        refusals.write(logging.INFO, error.code, "refused", code=error.code, detail=error.detail, **who, **where)
        return make_answer(error, request.environ)

    @app.errorhandler(HTTPException)
    def refuse_address(error: HTTPException) -> Response:
        answer = make_answer(IngestError(_code_of(error)), request.environ)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            answer.headers["Allow"] = ", ".join(error.valid_methods)
        return answer

    app.wsgi_app = _Guard(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented place for middleware
    return app


def make_answer(error: IngestError, environ: Environ) -> Response:
    """The answer to a refused request, which is counted; in words for its user where the URL asks for them."""
    metrics.record_error(error.code)
    answer = error.answer
    if answer.phone is not None and wants_words(environ):
        return Response(f"{answer.phone}\n", _STATUS_SHOWN_BY_APP, content_type="text/plain; charset=utf-8")
    response = Response(encode_json({"error": error.code, "detail": error.detail}), answer.status, content_type=_JSON)
    if answer.retry_after_s is not None:
        response.headers["Retry-After"] = str(answer.retry_after_s)
    if answer.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


class _Guard:
    """Gives every request an id, and an answer to those that raise: whatever a client sends, never a 500."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request_id = environ[_REQUEST_ID] = os.urandom(8).hex()

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            headers.append(("X-Request-Id", request_id))
            return start_response(status, headers, *more)

        try:
            return self._app(environ, start)
        except HTTPException as error:  # Flask reads parts of the request before its own error handlers
            return make_answer(IngestError(_code_of(error)), environ)(environ, start)
        except Exception:
            log.exception("unexpected error", extra={"fields": {"request": request_id}})
            return make_answer(IngestError("unexpected"), environ)(environ, start)


def _code_of(error: HTTPException) -> Code:
    match error:
        case NotFound():
            return "not_found"
        case MethodNotAllowed():
            return "method_not_allowed"
    return "bad_request"
