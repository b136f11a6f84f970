"""`python -m services.stream.ledger report`: of each session what was expected, what came, and what is missing.

The numbers are those of the view `session_ledger`. Expected are all messages up to the highest number, each time that
the app counted from 0; missing are the holes in that. Late are messages that came long after their last reading
(STREAM_LATE_AFTER_S). Messages whose id is no number cannot be missed.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg2

from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, load

_REPORT: Final = """
SELECT session_id, device, device_name, session, expected, received, missing, missing_ranges, duplicates, late,
       readings, readings_quarantined, messages_quarantined, not_known, first_time, last_time, last_seen
FROM session_ledger
WHERE (%(device)s::text IS NULL OR device = %(device)s OR device_name = %(device)s)
  AND (%(session)s::text IS NULL OR session = %(session)s)
  AND (NOT %(missing)s OR missing > 0)
ORDER BY session_id DESC LIMIT %(limit)s
"""
RANGES_SHOWN: Final = 8
LONGEST_NAME: Final = 14
_COLUMNS: Final = ("expected", "received", "missing", "duplicates", "late", "readings", "quarantined", "not known")


def main() -> int:
    """Print the report; the status is 0, or 2 when it cannot be had."""
    arguments = _parser().parse_args()
    try:
        with (
            closing(connect(load(DatabaseSettings, os.environ), "ledger")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(_REPORT, vars(arguments))
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except (SettingsError, psycopg2.Error) as error:
        print(f"cannot report: {error}".strip(), file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(rows, default=str))
    else:
        print("\n".join(lines(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.stream.ledger", description=__doc__)
    report = parser.add_subparsers(dest="action", required=True).add_parser("report", help="a line for each session")
    report.add_argument("--device", help="only sessions of this deviceId or name")
    report.add_argument("--session", help="only the session of this sessionId")
    report.add_argument("--missing", action="store_true", help="only sessions that miss messages")
    report.add_argument("--limit", type=int, default=50, help="sessions at most, the newest first (%(default)s)")
    report.add_argument("--json", action="store_true", help="as JSON, with all that is missing")
    return parser


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The report as a table, and below each session that misses messages which these are."""
    if not rows:
        yield "no sessions"
        return
    yield f"{'phone/session':<29} {'first reading':<19}  {'last reading':<19} " + " ".join(
        f"{name:>11}" for name in _COLUMNS
    )
    for row in rows:
        session = f"{_short(row['device_name'] or row['device'])}/{_short(row['session'])}"
        quarantined = row["readings_quarantined"] + row["messages_quarantined"]
        counts = [row[name] for name in ("expected", "received", "missing", "duplicates", "late", "readings")]
        numbers = " ".join(f"{number:>11}" for number in (*counts, quarantined, row["not_known"]))
        yield f"{session:<29} {_time(row['first_time']):<19}  {_time(row['last_time']):<19} {numbers}"
        if row["missing"]:
            more = len(row["missing_ranges"]) - RANGES_SHOWN
            shown = ", ".join(row["missing_ranges"][:RANGES_SHOWN])
            yield f"    missing: {shown}{f' and {more} more ranges (--json shows all)' if more > 0 else ''}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _time(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else "-"


if __name__ == "__main__":
    sys.exit(main())
