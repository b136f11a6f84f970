"""What the stream does beside storing: makes partitions, drops old ones, removes what was deleted, checks the sums.

One thread of the driver, once a minute. Nothing here holds up batches: partitions are dropped only where nobody has to
wait longer than 300 ms, else later; rows are removed in small portions; what fails is tried again in the next round.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import psycopg2
import psycopg2.errors
from confluent_kafka import KafkaException
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.stream import count, metrics, sql
from services.stream.check import check
from services.stream.settings import KeepSettings, StreamSettings

STATEMENT_TIMEOUT_S: Final = 120
EXPIRED_AT_ONCE: Final = 5_000
PORTIONS: Final = 20
"""Portions of rows that one round removes at most, of what is too old and of what was deleted."""
HOURS_AT_ONCE: Final = 200

log = logging.getLogger(__name__)


def make_partitions(connection: Connection, keep: KeepSettings) -> None:
    """Say how long things are kept, and make the partitions of all that is kept and of the next days."""
    with connection, connection.cursor() as cursor:
        for kept, days in keep.days.items():
            cursor.execute(sql.KEEP, {"kept": kept, "days": days})
        cursor.execute(sql.MAKE_PARTITIONS, (sql.DAYS_AHEAD,))


class Housekeeping:
    """The thread and its rounds."""

    def __init__(self, settings: StreamSettings, keep: KeepSettings, database: DatabaseSettings) -> None:
        self._settings = settings
        self._keep = keep
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin with a round now."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further task, and wait a moment for the one that runs; the database ends it cleanly if it stays."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self.round()
            if self._ended.wait(self._keep.every_s):
                return

    def round(self) -> None:
        """Every task once; one that fails is counted and stops no other."""
        tasks = {
            "partitions": self._look_after_partitions,
            "retention": self._retain,
            "purge": self._purge,
            "check": self._check,
            "sizes": self._measure,
        }
        for name, task in tasks.items():
            if self._ended.is_set():
                return
            self._try(name, task)

    def _try(self, name: str, task: Callable[[Connection], None]) -> None:
        try:
            with closing(connect(self._database, "housekeeping", STATEMENT_TIMEOUT_S)) as connection:
                connection.autocommit = True
                task(connection)
        except psycopg2.errors.LockNotAvailable:
            log.info("%s waits: the table is in use", name)
        except (psycopg2.Error, KafkaException) as error:
            metrics.record_housekeeping_failure(name)
            log.warning("%s failed, and is tried again in the next round: %s", name, str(error).strip())
        except Exception:  # whatever it is, the thread goes on
            metrics.record_housekeeping_failure(name)
            log.exception("%s failed", name)

    def _look_after_partitions(self, connection: Connection) -> None:
        make_partitions(connection, self._keep)
        with connection.cursor() as cursor:
            cursor.execute(sql.HOW_FAR_AHEAD)
            metrics.set_days_ahead(dict(cursor.fetchall()))

    def _retain(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            for _ in range(PORTIONS):
                cursor.execute(sql.EXPIRE, (EXPIRED_AT_ONCE,))
                if self._is_done(cursor.fetchone()):
                    break
            cursor.execute(sql.PARTITIONED)
            for (kept,) in cursor.fetchall():
                while not self._ended.is_set():
                    cursor.execute(sql.DROP_PARTITION, (kept,))
                    [dropped] = cursor.fetchone() or (None,)
                    if dropped is None:
                        break
                    log.info("dropped what is too old", extra={"fields": {"partition": dropped}})

    def _purge(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            ends = time.monotonic() + self._keep.every_s / 2
            while time.monotonic() < ends:
                cursor.execute(sql.PURGE_STEP)
                if self._is_done(cursor.fetchone()):
                    return

    def _check(self, connection: Connection) -> None:
        sums, counted = check(connection, self._settings, count.QUIET, HOURS_AT_ONCE)
        metrics.record_check((line.name, line.found - line.expected) for line in sums)
        for line in sums:
            if line.found != line.expected:
                log.error("the sums differ", extra={"fields": line._asdict() | {"where": counted.wrong[:3]}})

    def _measure(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql.TABLE_BYTES)
            metrics.set_table_bytes(dict(cursor.fetchall()))

    def _is_done(self, row: tuple[object, ...] | None) -> bool:
        return self._ended.is_set() or not row or not row[0]
