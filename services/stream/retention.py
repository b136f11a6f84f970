"""`python -m services.stream.retention report`: how long things are kept, how large they are and will become.

The forecast takes what has come in each day since the first message, for as many days as a table is kept: it grows into
that, and then stays. How long things are kept say the settings STREAM_KEEP_…_DAYS.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

import psycopg2

from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, load
from services.stream import sql

_AGES: Final = "SELECT kept, days, kept_from FROM retention ORDER BY kept"
_DAYS_OF_DATA: Final = "SELECT extract(epoch FROM now() - min(first_seen))::float8 / 86400 FROM device"
_SHORTEST_DAYS: Final = 1 / 24
"""With less than an hour of data there is no forecast."""
_MIB: Final = 1 << 20


class Table(NamedTuple):
    """A table that is kept by age. Sizes in bytes; without a forecast while there is too little data."""

    name: str
    days: int
    kept_from: Any
    size: int
    per_day: int | None
    forecast: int | None


def main() -> int:
    """Print the report; the status is 0, or 2 when it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m services.stream.retention", description=__doc__)
    report = parser.add_subparsers(dest="action", required=True).add_parser("report", help="sizes and forecast")
    report.add_argument("--json", action="store_true", help="as JSON, sizes in bytes")
    arguments = parser.parse_args()
    try:
        tables = _read(load(DatabaseSettings, os.environ))
    except (SettingsError, psycopg2.Error) as error:
        print(f"cannot report: {error}".strip(), file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([table._asdict() for table in tables], default=str))
    else:
        print("\n".join(lines(tables)))
    return 0


def _read(database: DatabaseSettings) -> list[Table]:
    with closing(connect(database, "retention")) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_DAYS_OF_DATA)
        [days_of_data] = cursor.fetchone() or (None,)
        cursor.execute(sql.TABLE_BYTES)
        sizes = dict(cursor.fetchall())
        cursor.execute(_AGES)
        return [
            forecast(kept, days, kept_from, sizes[kept], days_of_data) for kept, days, kept_from in cursor.fetchall()
        ]


def forecast(name: str, days: int, kept_from: Any, size: int, days_of_data: float | None) -> Table:
    """What a table of `size` bytes will hold, given the days since the first data came."""
    if not days_of_data or days_of_data < _SHORTEST_DAYS:
        return Table(name, days, kept_from, size, None, None)
    per_day = size / min(days_of_data, days)
    return Table(name, days, kept_from, size, round(per_day), round(per_day * days))


def lines(tables: list[Table]) -> Iterator[str]:
    """The report as a table, sizes in MiB."""
    yield f"{'table':<14} {'kept':>7}  {'nothing before':<14} {'MiB now':>12} {'MiB a day':>12} {'MiB in the end':>15}"
    for table in tables:
        start = f"{table.kept_from:%Y-%m-%d}" if table.kept_from else ""
        sizes = f"{_mib(table.size):>12} {_mib(table.per_day):>12} {_mib(table.forecast):>15}"
        yield f"{table.name:<14} {table.days:>5} d  {start:<14} {sizes}"
    total, known = sum(table.size for table in tables), [t.forecast for t in tables if t.forecast is not None]
    yield f"{'all':<39} {_mib(total):>12} {'':>12} {_mib(sum(known) if known else None):>15}"
    if not known:
        yield "a forecast needs an hour of data"


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / _MIB:,.1f}"


if __name__ == "__main__":
    sys.exit(main())
