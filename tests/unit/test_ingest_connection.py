"""What a connection holds: nothing of a request that is over, and nothing that keeps itself alive."""

import gc
import socket
import weakref
from pathlib import Path

import pytest

from services.common.telemetry import Tracing
from services.ingest.connection import Connection, State
from services.ingest.exchange import Desk, Exchange
from services.ingest.reply import ACCEPTED
from services.ingest.settings import IngestSettings

HEAD = b"POST /sensor_data HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Acknowledged(Exchange):
    """One that ends with its body, as if Kafka had the record at once."""

    def _receive(self, _body):
        self._finish(ACCEPTED)


class Host:
    """A server with one connection."""

    settings = IngestSettings(
        bootstrap_servers="nowhere:1", kafka_ca_file=Path("ca"), kafka_certificate_file=Path("certificate")
    )
    stopping, held_bytes, now = False, 0, 0.0
    exchange = None

    def begin(self, environ, answer):
        desk = Desk(self.settings, admission=None, publisher=None, tracing=Tracing("ingest"))
        exchange = Acknowledged(desk, environ, answer)
        self.exchange = weakref.ref(exchange)
        return exchange

    def turn_away(self, _data, _address):
        return None

    def watch(self, connection, *, read, write):
        pass

    def forget(self, connection):
        pass


@pytest.fixture
def pair():
    """Both ends; without the garbage collector only what nobody refers to goes."""
    server, client = socket.socketpair()
    server.setblocking(False)
    gc.disable()
    yield server, client
    gc.enable()
    client.close()


def test_an_idle_connection_holds_no_exchange(pair):
    """And so no message of 15 KB for each phone that is connected."""
    server, client = pair
    host = Host()
    connection = Connection(host, server, "127.0.0.1")
    client.sendall(HEAD + b"{}")
    connection.on_readable()
    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert connection.state is State.IDLE
    assert host.exchange() is None
    connection.close()


@pytest.mark.parametrize("sent", [b"", HEAD + b"{}", HEAD + b"{"], ids=["unused", "idle", "in a body"])
def test_a_closed_connection_goes_at_once(pair, sent):
    """Whatever it was doing."""
    server, client = pair
    connection = Connection(Host(), server, "127.0.0.1")
    client.sendall(sent)
    if sent:
        connection.on_readable()
    connection.close()
    gone = weakref.ref(connection)
    del connection
    assert gone() is None
