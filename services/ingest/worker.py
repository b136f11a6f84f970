"""gunicorn's threaded worker, with errors as JSON and closing that never holds up the other connections."""

import logging
import socket
from typing import Any, Final

from gunicorn import util
from gunicorn.http import errors as http
from gunicorn.workers.gthread import TConn, ThreadWorker

from services.common.message import encode_json
from services.ingest import metrics
from services.ingest.errors import ANSWERS, Code
from services.ingest.log_limit import LimitedLog

_STATUS: Final = {http.LimitRequestLine: "414 URI Too Long", http.LimitRequestHeaders: "431 Header Fields Too Large"}


class IngestWorker(ThreadWorker):  # type: ignore[misc]  # published without types
    """Threads that each handle one request at a time; idle connections wait in a poller."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._log = LimitedLog(period_s=1)

    def handle(self, conn: TConn) -> Any:
        """Handle a request; a connection that ends here is closed here.

        gunicorn closes it in its only accepting thread instead, and waits up to 2 s there for the client.
        """
        outcome = super().handle(conn)
        if outcome is False:
            util.close_graceful(conn.sock)
        return outcome

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:  # noqa: ARG002
        """Answer what is not valid HTTP; called by gunicorn before the application sees a request."""
        code: Code = "bad_request" if isinstance(exc, http.ParseException) else "unexpected"
        status = _STATUS.get(type(exc), "400 Bad Request" if code == "bad_request" else "503 Service Unavailable")
        metrics.record_error(code)
        level = logging.INFO if code == "bad_request" else logging.ERROR
        address = addr[0] if addr else None
        self._log.write(level, type(exc).__name__, "refused", code=code, cause=type(exc).__name__, address=address)
        body = encode_json({"error": code, "detail": ANSWERS[code].sentence})
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        try:
            client.sendall(head.encode() + b"\r\n\r\n" + body)
        except OSError:
            return  # nobody is there to read it
