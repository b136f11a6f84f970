"""Writes one export in a process of its own: `python -m services.dashboard.export`, told what on standard input.

It may take minutes and all of a core; the pages' process goes on beside it. What it holds does not grow with the
recording: messages come some at a time and go into files. Each line of standard output is a JSON object: `done` and
`of` (messages read), and in the last one `name`, `bytes` and `missing`, or an `error` in words.
"""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from services.common.database import connect
from services.common.settings import load
from services.dashboard import export_seen, export_session
from services.dashboard.database import Database, DatabaseAwayError
from services.dashboard.history import History
from services.dashboard.queries import Queries
from services.dashboard.queries.history import HistoryQueries
from services.dashboard.settings import DashboardDatabaseSettings

PATIENCE_S: Final = 120.0
"""How long PostgreSQL may be away before an export gives up."""
_NICENESS: Final = 10
_T = TypeVar("_T")


class Order(msgspec.Struct, frozen=True, rename={"from_ms": "from", "until_ms": "until"}):
    """What to export: of a device the recordings (none named: all that lie in the span) and sensors (none: all).

    `what`: "seen" is the span in the resolution of the page; "session" is one whole recording with every reading.
    """

    what: Literal["seen", "session"]
    format: Literal["csv", "parquet"]
    device: str
    sessions: list[str] = []
    sensors: list[str] = []
    from_ms: float | None = None
    until_ms: float | None = None


class Tools:
    """What an export is made with."""

    def __init__(self, database: Database, directory: Path, tell: Callable[[int, int], None]) -> None:
        self.history = HistoryQueries(database)
        self.answers = History(Queries(database), self.history)
        self.directory = directory
        self.tell = tell

    def patiently(self, ask: Callable[[], _T]) -> _T:
        """What `ask` returns, also when PostgreSQL is away for a while. Raises `DatabaseAwayError` if for too long."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except DatabaseAwayError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def pages(self, session_id: int) -> Iterator[list[export_session.MessageRow]]:
        """The session's messages, some at a time; the next ones are asked for where the last have ended."""
        after = None
        while page := self.patiently(partial(self.history.bodies_after, session_id, after)):
            yield page
            after = page[-1]


def main() -> None:
    """Do what standard input says; exit with 1 after an error, which is told on standard output."""
    os.nice(_NICENESS)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    settings = load(DashboardDatabaseSettings, os.environ)
    database = Database(partial(connect, settings, "dashboard-export", settings.statement_timeout_s), 1)
    tools = Tools(database, Path(sys.argv[1]), lambda done, of: _print(done=done, of=of))
    try:
        write = export_session.write if order.what == "session" else export_seen.write
        file, missing = write(order, tools)
        _print(name=file.name, bytes=file.stat().st_size, missing=missing)
    except DatabaseAwayError:
        _fail("The database cannot be reached. Try again when it is back.")
    except export_session.NothingToExportError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail("There is not enough room on the server's disk for this export. Choose a shorter span or fewer sensors.")


def _fail(error: str) -> None:
    _print(error=error)
    sys.exit(1)


def _print(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
