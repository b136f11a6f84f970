"""Whether something answers on a loopback port."""

import http.client
import socket
import urllib.error
import urllib.request

_PATIENCE_S = 1.0


def accepts_connections(port: int) -> bool:
    """Whether a program listens on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S):
            return True
    except OSError:
        return False


def answers(port: int, path: str) -> bool:
    """Whether an HTTP GET of `path` is answered with 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_PATIENCE_S) as answer:
            return bool(answer.status == http.client.OK)
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False
