"""The port on which a process tells its metrics to who knows the password, and to everybody that it lives (`/livez`).

Without a password it is there on loopback alone.
"""

import hmac
import socket
import threading
from base64 import b64encode
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Final

from prometheus_client import REGISTRY, MetricsHandler
from prometheus_client.registry import Collector

USER: Final = "metrics"
_PATIENCE_S: Final = 10.0


def start(port: int, password: str) -> None:
    """Answer on a port of this process alone. Raises `OSError` when the port is taken."""
    serve(listen(port, password), password)


def listen(port: int, password: str) -> socket.socket:
    """The port's socket, which processes may share. Raises `OSError` when the port is taken."""
    everywhere = "0.0.0.0"  # noqa: S104  # who has no password is refused
    return socket.create_server((everywhere if password else "127.0.0.1", port))


def serve(listener: socket.socket, password: str, registry: Collector = REGISTRY) -> ThreadingHTTPServer:
    """Answer on the socket, from a thread of this process."""
    handler = type("MetricsPort", (_Handler,), {"registry": registry, "expected": _authorization(password)})
    server = ThreadingHTTPServer(listener.getsockname()[:2], handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _authorization(password: str) -> bytes:
    """The header that proves the password; empty where none is asked for."""
    return b"Basic " + b64encode(f"{USER}:{password}".encode()) if password else b""


class _Handler(MetricsHandler):
    timeout = _PATIENCE_S
    expected: bytes

    def do_GET(self) -> None:  # noqa: N802  # the server's name for it
        if self.path == "/livez":
            self._answer(HTTPStatus.OK)
        elif self._is_known():
            super().do_GET()
        else:
            self._answer(HTTPStatus.UNAUTHORIZED)

    def _is_known(self) -> bool:
        given = self.headers.get("Authorization", "").encode("latin-1")
        return not self.expected or hmac.compare_digest(given, self.expected)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="metrics"')
        self.send_header("Content-Length", "0")
        self.end_headers()
