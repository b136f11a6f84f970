"""`python -m services.stream.quarantine list|show|retry`: what could not be stored, and another try after a fix.

list: reasons, and how many records and readings are there for each. show ID: one of them whole. retry: store again what
can be stored now, each exactly once; what still cannot stays where it is. Exits with 1 when something stayed.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, load
from services.stream.decode import Rules
from services.stream.retry import NotThereError, StillBadError, retry
from services.stream.settings import RuleSettings
from services.stream.store import prepare

_LIST: Final = """
SELECT reason, count(*) FILTER (WHERE position = -1), count(*) FILTER (WHERE position >= 0),
       min(quarantine_id), max(quarantine_id), min(quarantined_at), max(quarantined_at)
FROM quarantine WHERE retried_at IS NULL GROUP BY reason ORDER BY count(*) DESC, reason
"""
_RECENT: Final = """
SELECT quarantine_id, quarantined_at, reason, CASE WHEN position >= 0 THEN 'reading' ELSE 'record' END,
       coalesce(device, ''), coalesce(session, ''), octet_length(content), detail
FROM quarantine WHERE retried_at IS NULL AND (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY quarantine_id DESC LIMIT %(limit)s
"""
_SHOW: Final = """
SELECT quarantine_id, topic, partition, "offset", broker_time, position, reason, detail, device, session,
       quarantined_at, retried_at, key, content
FROM quarantine WHERE quarantine_id = %s
"""
_WAITING: Final = """
SELECT quarantine_id FROM quarantine
WHERE retried_at IS NULL AND (%(reason)s::text IS NULL OR reason = %(reason)s) ORDER BY quarantine_id
"""
SHOWN: Final = 20
PROGRESS_EVERY: Final = 1000


def main() -> int:
    """Do as asked; the status is 0 when all went well, 1 when something stayed in quarantine, 2 when nothing went."""
    arguments = _parser().parse_args()
    try:
        database, rules = load(DatabaseSettings, os.environ), load(RuleSettings, os.environ)
        with closing(connect(database, "quarantine")) as connection:
            if arguments.action == "list":
                return _print_list(connection, arguments)
            if arguments.action == "show":
                return _show(connection, arguments.id, raw=arguments.raw)
            return _retry(connection, arguments, Rules(rules.keep_60s_days, rules.late_after_s))
    except (SettingsError, psycopg2.Error) as error:
        print(f"cannot {arguments.action}: {error}".strip(), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.stream.quarantine", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="reasons and counts, and the newest ones")
    listing.add_argument("--reason", help="only the newest of this reason")
    listing.add_argument("--limit", type=int, default=SHOWN, help="how many of the newest (%(default)s)")
    listing.add_argument("--json", action="store_true", help="as JSON")
    show = actions.add_parser("show", help="one record or reading whole")
    show.add_argument("id", type=int)
    show.add_argument("--raw", action="store_true", help="only its bytes, as they came")
    again = actions.add_parser("retry", help="another try")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", type=int, nargs="*", default=[], metavar="ID", help="these")
    which.add_argument("--reason", help="all of this reason")
    which.add_argument("--all", action="store_true", help="all there are")
    return parser


def _print_list(connection: Connection, arguments: argparse.Namespace) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(_LIST)
        reasons = cursor.fetchall()
        cursor.execute(_RECENT, {"reason": arguments.reason, "limit": arguments.limit})
        newest = cursor.fetchall()
    if arguments.json:
        names = ("reason", "records", "readings", "first_id", "last_id", "first_at", "last_at")
        entries = ("id", "at", "reason", "kind", "device", "session", "bytes", "detail")
        document = {
            "reasons": [dict(zip(names, row, strict=True)) for row in reasons],
            "newest": [dict(zip(entries, row, strict=True)) for row in newest],
        }
        print(json.dumps(document, default=str))
        return 0
    print("\n".join(_list_lines(reasons, newest)))
    return 0


def _list_lines(reasons: list[tuple[Any, ...]], newest: list[tuple[Any, ...]]) -> Iterator[str]:
    if not reasons:
        yield "nothing is in quarantine"
        return
    yield f"{'reason':<20} {'records':>10} {'readings':>10}  {'ids':<21}  last"
    for reason, records, readings, first, last, _, last_at in reasons:
        yield f"{reason:<20} {records:>10} {readings:>10}  {f'{first} to {last}':<21}  {last_at:%Y-%m-%d %H:%M:%S}"
    yield ""
    yield f"{'id':>10}  {'at':<19}  {'reason':<18} {'kind':<8} {'bytes':>8}  detail"
    for number, at, reason, kind, device, session, size, detail in newest:
        owner = f" ({device}, {session})" if device else ""
        yield f"{number:>10}  {at:%Y-%m-%d %H:%M:%S}  {reason:<18} {kind:<8} {size:>8}  {detail}{owner}"


def _show(connection: Connection, quarantine_id: int, *, raw: bool) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(_SHOW, (quarantine_id,))
        row = cursor.fetchone()
        names = [column.name for column in cursor.description or ()]
    if row is None:
        print(f"{quarantine_id} is not in quarantine", file=sys.stderr)
        return 1
    *fields, key, content = row
    if raw:
        sys.stdout.buffer.write(bytes(content))
        return 0
    for name, value in zip(names, fields, strict=False):
        if value is not None:
            print(f"{name:<15} {value}")
    if key is not None:
        print(f"{'key':<15} {_readable(key)}")
    print(f"{'bytes':<15} {len(content)}\n\n{_readable(content)}")
    return 0


def _readable(content: Any) -> str:
    """Text as it is, with control characters escaped; what is no text byte by byte."""
    try:
        text = bytes(content).decode()
    except UnicodeDecodeError:
        return repr(bytes(content))
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _retry(connection: Connection, arguments: argparse.Namespace, rules: Rules) -> int:
    prepare(connection)
    ids = arguments.ids
    if not ids:
        with connection, connection.cursor() as cursor:
            cursor.execute(_WAITING, {"reason": arguments.reason})
            ids = [number for (number,) in cursor.fetchall()]
    stored = stayed = 0
    for done, quarantine_id in enumerate(ids, start=1):
        try:
            retry(connection, quarantine_id, rules)
            stored += 1
        except (StillBadError, NotThereError, psycopg2.errors.DeadlockDetected) as error:
            stayed += 1
            if stayed <= SHOWN:
                print(f"{quarantine_id} stays: {str(error).splitlines()[0]}")
        if done % PROGRESS_EVERY == 0:
            print(f"{done} of {len(ids)} tried", file=sys.stderr)
    print(f"{stored} stored, {stayed} stayed in quarantine")
    return int(stayed > 0)


if __name__ == "__main__":
    sys.exit(main())
