"""Asking PostgreSQL: a few connections shared by all threads, which come back by themselves after an outage."""

import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.errors import LockNotAvailable, QueryCanceled
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from services.dashboard import metrics

Row = tuple[Any, ...]


class DatabaseAwayError(Exception):
    """PostgreSQL did not answer; the text says why in one line. Asking again later is right."""


class Database:
    """At most `size` connections, made when first needed. Every query is a transaction of its own, read-only unless
    they are `writable`.

    While PostgreSQL is away only one thread at a time tries to reach it, at most every `retry_s` seconds; the others
    are refused at once, so that an outage never ties up the server.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        size: int,
        retry_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        *,
        writable: bool = False,
    ) -> None:
        self._connect = connect
        self._writable = writable
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []
        self._retry_s = retry_s
        self._clock = clock
        self._away_until = 0.0
        self._away_reason = ""

    def rows(self, name: str, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows of one query, known to the metrics as `name`. Raises `DatabaseAwayError`."""
        with self.connection(name) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    @contextmanager
    def transaction(self, name: str) -> Iterator[Cursor]:
        """A cursor whose statements are done together or not at all. Raises `DatabaseAwayError`."""
        with self.connection(name) as connection, connection, connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def connection(self, name: str) -> Iterator[Connection]:
        """A connection for what the metrics call `name`. Raises `DatabaseAwayError`."""
        with metrics.time_query(name), self._connection() as connection:
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection for one use; one that failed is not used again."""
        if not self._free.acquire(timeout=5):
            raise DatabaseAwayError("All connections to PostgreSQL are busy.")
        connection = None
        is_whole = True
        try:
            connection = self._take()
            yield connection
        except QueryCanceled:
            raise DatabaseAwayError("PostgreSQL took too long to answer.") from None
        except LockNotAvailable:
            raise  # PostgreSQL is well: something else is at work on the same rows
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            is_whole = False
            self._drop(connection)
            raise DatabaseAwayError(_reason(error)) from None
        finally:
            if connection and is_whole:
                self._idle.append(connection)
            self._free.release()

    def _take(self) -> Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open()
            if not _has_ended(connection):
                return connection
            connection.close()

    def _open(self) -> Connection:
        if self._clock() < self._away_until:
            raise DatabaseAwayError(self._away_reason)
        before = self._away_until
        try:
            if before:
                self._away_until = self._clock() + 10  # this thread tries; the others need not wait for it
            connection = self._connect()
            connection.set_session(readonly=not self._writable, autocommit=True)
        except psycopg2.Error as error:
            self._away_reason = _reason(error)
            self._away_until = self._clock() + self._retry_s
            raise
        self._away_until = 0.0
        return connection

    def _drop(self, connection: Connection | None) -> None:
        """Close a failed connection and those that waited beside it: they most likely failed with it."""
        failed, self._idle = [*self._idle, *([connection] if connection else [])], []
        for each in failed:
            each.close()


def _has_ended(connection: Connection) -> bool:
    """Whether the server has ended a connection that was idle: it says so, and then there is something to read."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _reason(error: psycopg2.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
