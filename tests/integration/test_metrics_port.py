"""The port of the metrics by itself."""

import contextlib
import socket

import pytest
from prometheus_client import CollectorRegistry, Gauge

from services.common import metrics_port
from tests.scrape import PASSWORD, assert_refuses_strangers, assert_tells_strangers_that_it_lives, scrape


@contextlib.contextmanager
def served(password):
    """A port that tells of one metric; its address."""
    registry = CollectorRegistry()
    Gauge("answer", "Of all questions", registry=registry).set(42)
    server = metrics_port.serve(metrics_port.listen(0, password), password, registry)
    yield server.socket.getsockname()
    server.shutdown()
    server.server_close()


def test_strangers_are_refused():
    """Metrics are for who has the password; that the process lives is for everybody."""
    with served(PASSWORD) as (_, port):
        assert_refuses_strangers(port)
        assert_tells_strangers_that_it_lives(port)
        assert "answer 42.0" in scrape(port)[2]


def test_without_a_password_it_is_on_loopback_alone():
    """Who forgets the password opens nothing to others."""
    with served("") as (host, port):
        assert host == "127.0.0.1"
        assert "answer 42.0" in scrape(port, password=None)[2]


@pytest.mark.parametrize("header", ["", "Basic", "Basic \xff\xfe", "Bearer x", "Basic " + "A" * 60_000])
def test_strange_headers_are_refused(header):
    """Whatever is sent as a password, the answer is 401."""
    with served(PASSWORD) as address, socket.create_connection(address, timeout=5) as connection:
        connection.sendall(f"GET /metrics HTTP/1.1\r\nAuthorization: {header}\r\n\r\n".encode("latin-1"))
        assert connection.recv(64).startswith(b"HTTP/1.0 401 ")
