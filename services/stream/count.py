"""Counting again what is stored, hour by hour: are the rows there that the ledger says were written?

The ledger says for each hour of each session how many values were added, `message_hour` how many messages of each hour
of broker time. An hour that was counted and found right is not counted again before something changes in it, so a check
costs what has changed and not what is stored. The stream counts hours when they have become quiet, and the oldest ones
once more, so that a row that vanishes later is noticed too.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # the class has a lower-case name

RESOLUTIONS_S: Final = (1, 10, 60)

CHANGED: Final = "counted_at IS NULL"
"""Hours that have changed since they were counted."""
QUIET: Final = "counted_at IS NULL AND changed_at < now() - interval '10 minutes'"
"""Those of them that nothing was added to for a while."""
ALL: Final = "true"

# Only hours of the years 2000 to 2255 hold values; a message whose first reading is dated elsewhere is only remembered.
_HOURS_OF_SESSIONS: Final = """
SELECT session_id, hour, changed_at, messages, numeric_values, text_values, numbers,
       CASE WHEN hour BETWEEN 262968 AND 2500000 THEN to_timestamp(hour * 3600) END AS begins
FROM message_ledger WHERE {which}
"""
_HOURS_OF_MESSAGES: Final = """
SELECT topic, partition, hour, changed_at, messages, readings, to_timestamp(hour * 3600) AS begins
FROM message_hour WHERE {which}
"""
_AGAIN: Final = """
UNION ALL ({hours} ORDER BY counted_at LIMIT {limit})
"""
_COUNTED_LONG_AGO: Final = "counted_at < now() - interval '1 day'"

_WINDOWS: Final = """
CASE WHEN begins >= (SELECT kept_from FROM retention WHERE kept = 'window_{resolution}s') THEN (
    SELECT coalesce(sum(count), 0) FROM series JOIN window_{resolution}s USING (series_id)
    WHERE series.session_id = due.session_id AND start >= begins AND start < begins + interval '1 hour') END
"""
_TEXTS: Final = """
CASE WHEN begins >= (SELECT kept_from FROM retention WHERE kept = 'text_reading') THEN (
    SELECT count(*) FROM series JOIN text_reading USING (series_id)
    WHERE series.session_id = due.session_id AND time_ns >= hour * 3600000000000
      AND time_ns < (hour + 1) * 3600000000000) END
"""
_COUNT_SESSIONS: Final = """
SELECT session_id, hour, changed_at, messages, numeric_values, text_values,
       (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(numbers) AS part),
       {found}
FROM ({hours}) AS due
"""
_FOUND: Final = ", ".join([*(_WINDOWS.format(resolution=resolution) for resolution in RESOLUTIONS_S), _TEXTS])
_COUNT_MESSAGES: Final = """
SELECT topic, partition, hour, changed_at, due.messages, due.readings, found.messages, found.readings
FROM ({hours}) AS due CROSS JOIN LATERAL (
    SELECT count(*) AS messages, coalesce(sum(message.readings), 0) AS readings FROM message
    WHERE broker_time >= begins AND broker_time < begins + interval '1 hour'
      AND message.topic = due.topic AND message.partition = due.partition) AS found
WHERE begins >= (SELECT kept_from FROM retention WHERE kept = 'message')
"""
# Rows that somebody holds are left out: this never waits for the stream, nor the stream for this.
_NOTE_SESSIONS: Final = """
WITH fine AS (
    SELECT session_id, hour, is_right
    FROM message_ledger JOIN unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::boolean[])
         AS counted (session_id, hour, changed_at, is_right) USING (session_id, hour)
    WHERE message_ledger.changed_at = counted.changed_at
    ORDER BY session_id, hour FOR UPDATE OF message_ledger SKIP LOCKED
)
UPDATE message_ledger SET counted_at = CASE WHEN is_right THEN now() END
FROM fine WHERE (message_ledger.session_id, message_ledger.hour) = (fine.session_id, fine.hour)
"""
_NOTE_MESSAGES: Final = """
WITH fine AS (
    SELECT topic, partition, hour, is_right
    FROM message_hour AS there JOIN unnest(%s::text[], %s::integer[], %s::bigint[], %s::timestamptz[], %s::boolean[])
         AS counted (topic, partition, hour, changed_at, is_right) USING (topic, partition, hour)
    WHERE there.changed_at = counted.changed_at
    ORDER BY topic, partition, hour FOR UPDATE OF there SKIP LOCKED
)
UPDATE message_hour AS there SET counted_at = CASE WHEN is_right THEN now() END
FROM fine WHERE (there.topic, there.partition, there.hour) = (fine.topic, fine.partition, fine.hour)
"""


class Count(NamedTuple):
    """One thing that was counted: what there should be and what was found, over all hours that were counted."""

    expected: int
    found: int


class Counted(NamedTuple):
    """What a count found, by the name of the sum; and the hours to note as counted, with whether they were right."""

    sums: dict[str, Count]
    sessions: list[tuple[Any, ...]]
    messages: list[tuple[Any, ...]]

    @property
    def wrong(self) -> list[str]:
        """The hours that differ, in words."""
        sessions = [f"session_id {row[0]}, hour {row[1]}" for row in self.sessions if not row[-1]]
        return sessions + [f"{row[0]}/{row[1]}, arrival hour {row[2]}" for row in self.messages if not row[-1]]


def count(cursor: Cursor, which: str, limit: int | None = None) -> Counted:
    """Count the hours `which` (CHANGED, QUIET or ALL); with `limit` so many at most, and some of the others again."""
    cursor.execute(_COUNT_SESSIONS.format(found=_FOUND, hours=_hours(_HOURS_OF_SESSIONS, which, limit)))
    sessions = cursor.fetchall()
    cursor.execute(_COUNT_MESSAGES.format(hours=_hours(_HOURS_OF_MESSAGES, which, limit)))
    messages = cursor.fetchall()
    sums = {
        "ledger_numbers": _sum((row[3], row[6]) for row in sessions),
        **{
            f"windows_{resolution}s": _sum((row[4], row[7 + place]) for row in sessions)
            for place, resolution in enumerate(RESOLUTIONS_S)
        },
        "texts": _sum((row[5], row[10]) for row in sessions),
        "messages": _sum((row[4], row[6]) for row in messages),
        "message_readings": _sum((row[5], row[7]) for row in messages),
    }
    return Counted(
        sums,
        [
            (*row[:3], _agree((row[3], row[6]), *((row[4], n) for n in row[7:10]), (row[5], row[10])))
            for row in sessions
        ],
        [(*row[:4], _agree((row[4], row[6]), (row[5], row[7]))) for row in messages],
    )


def note(cursor: Cursor, counted: Counted) -> None:
    """Note which hours were right; those that were not, or have changed meanwhile, are counted again next time."""
    for statement, rows in ((_NOTE_SESSIONS, counted.sessions), (_NOTE_MESSAGES, counted.messages)):
        if rows:
            cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])


def _hours(statement: str, which: str, limit: int | None) -> str:
    if limit is None:
        return statement.format(which=which)
    changed = f"({statement.format(which=which)} LIMIT {limit})"
    return changed + _AGAIN.format(hours=statement.format(which=_COUNTED_LONG_AGO), limit=limit // 4)


def _sum(pairs: Any) -> Count:
    """Of those that could be counted: None tells that an hour is older than is kept."""
    known = [(expected, found) for expected, found in pairs if found is not None]
    return Count(sum(int(expected) for expected, _ in known), sum(int(found) for _, found in known))


def _agree(*pairs: Sequence[Any]) -> bool:
    return all(found is None or expected == found for expected, found in pairs)
