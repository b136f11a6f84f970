"""How the dashboard's connections behave while PostgreSQL comes and goes; what is connected to is made of memory."""

import os

import psycopg2
import pytest
from psycopg2.errors import QueryCanceled

from services.dashboard.database import Database, DatabaseAwayError


class MemoryServer:
    """Makes connections and answers them, unless it is down or slow. Counts what it was asked."""

    def __init__(self):
        self.is_down = False
        self.is_slow = False
        self.attempts = 0
        self.now = 0.0

    def connect(self):
        self.attempts += 1
        self.check()
        self.newest = MemoryConnection(self)
        return self.newest

    def check(self):
        if self.is_down:
            raise psycopg2.OperationalError("connection refused\n\tmore lines")
        if self.is_slow:
            raise QueryCanceled("canceling statement due to statement timeout")


class MemoryConnection:
    """A connection, which is its own cursor."""

    def __init__(self, server):
        self.server = server
        self.farewell = os.eventfd(0)

    def fileno(self):
        return self.farewell

    def set_session(self, **_options):
        pass

    def cursor(self):
        return self

    def execute(self, _statement, _parameters):
        self.server.check()

    def fetchall(self):
        return [(1,)]

    def close(self):
        os.close(self.farewell)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def database(server):
    return Database(server.connect, 2, retry_s=1.0, clock=lambda: server.now)


def test_connection_is_used_again(server, database):
    """One connection serves many queries."""
    assert [database.rows("q", "SELECT 1") for _ in range(3)] == [[(1,)]] * 3
    assert server.attempts == 1


def test_outage_is_one_clear_line(server, database):
    """The reason of an outage is the first line of what PostgreSQL's client says."""
    server.is_down = True
    with pytest.raises(DatabaseAwayError, match=r"^connection refused$"):
        database.rows("q", "SELECT 1")


def test_outage_is_not_asked_about_by_everybody(server, database):
    """Within the retry time nobody waits for a connection that was just refused."""
    server.is_down = True
    for _ in range(5):
        with pytest.raises(DatabaseAwayError):
            database.rows("q", "SELECT 1")
    assert server.attempts == 1


def test_it_comes_back_by_itself(server, database):
    """After a restart of PostgreSQL old connections are replaced and queries are answered."""
    database.rows("q", "SELECT 1")
    server.is_down = True
    with pytest.raises(DatabaseAwayError):
        database.rows("q", "SELECT 1")
    server.is_down = False
    server.now += 1
    assert database.rows("q", "SELECT 1") == [(1,)]
    assert server.attempts == 2


def test_slow_query_does_not_cost_the_connection(server, database):
    """A statement timeout is told as such, and the connection goes on."""
    database.rows("q", "SELECT 1")
    server.is_slow = True
    with pytest.raises(DatabaseAwayError, match="too long"):
        database.rows("q", "SELECT 1")
    server.is_slow = False
    database.rows("q", "SELECT 1")
    assert server.attempts == 1


def test_a_connection_that_the_server_ended_is_not_used(database, server):
    """After a restart of PostgreSQL the first query succeeds: what the server has ended is noticed before."""
    database.rows("q", "SELECT 1")
    os.eventfd_write(server.newest.farewell, 1)
    assert database.rows("q", "SELECT 1") == [(1,)]
    assert server.attempts == 2
