"""What goes wrong with PostgreSQL while it runs: somebody holds a lock, all connections are taken, it crawls."""

import contextlib
import signal
import time
from dataclasses import dataclass

import psycopg2

from tests.faults.faults import Fault
from tests.processes import descendants, send


@dataclass(frozen=True)
class LockTables(Fault):
    """Somebody holds the tables that every transaction of the stream needs, for some seconds."""

    seconds: float

    def inject(self, lab):
        with contextlib.closing(lab.stack.database("owner")) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE device, message_ledger, partition_progress IN ACCESS EXCLUSIVE MODE")
            time.sleep(self.seconds)  # the fault itself


@dataclass(frozen=True)
class OutOfConnections(Fault):
    """Every connection that PostgreSQL gives is taken, for some seconds, and the stream has to make its own anew."""

    seconds: float

    def inject(self, lab):
        with contextlib.ExitStack() as taken:
            self._take_all(lab, taken)
            send(lab.pids("python worker"), signal.SIGKILL)
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:  # the fault itself
                self._take_all(lab, taken)  # those that become free
                time.sleep(0.02)

    def _take_all(self, lab, taken):
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                taken.enter_context(contextlib.closing(lab.stack.database("dashboard")))


@dataclass(frozen=True)
class Slow(Fault):
    """PostgreSQL gets a twentieth of the time, in slices of a second."""

    seconds: float

    def inject(self, lab):
        [postmaster] = lab.await_pids("postmaster")
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pids = [postmaster, *descendants(postmaster)]
            send(pids, signal.SIGSTOP)
            try:
                time.sleep(0.95)  # the fault itself
            finally:
                send(pids, signal.SIGCONT)
            time.sleep(0.05)
