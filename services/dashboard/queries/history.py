"""What the History page and the export ask."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.dashboard.queries.live import _SESSION_COLUMNS, _SPAN_COLUMNS, MessageRow, SessionRow
from services.dashboard.queries.windows import WindowQueries

MOST_SESSIONS: Final = 500
"""How many recordings of a phone are offered and shown together, the newest."""
MOST_BODIES: Final = 2000
"""How many messages are read for a view of every reading."""
COUNTED_END: Final = 1 << 62
"""Message numbers from here on are hashes: they are not counted, so none of them is missing."""
_LONGEST_MESSAGE: Final = "interval '1 hour'"
_PAGE: Final = 200


class SeriesOf(NamedTuple):
    """One channel of one sensor of one of several sessions."""

    series_id: int
    session_id: int
    sensor: str
    channel: str


class NumberedSpan(NamedTuple):
    """A counted message: its number in the session, and the times of its readings."""

    number: int
    first_ms: float
    last_ms: float


class HourRange(NamedTuple):
    """Message numbers [lower, upper) of an hour (since the epoch) that have all been stored."""

    hour: int
    lower: int
    upper: int


_SESSIONS_OF: Final = f"""
SELECT {_SESSION_COLUMNS} FROM device JOIN session USING (device_id)
WHERE device = %(device)s AND session.messages > 0 ORDER BY session_id DESC LIMIT %(limit)s
"""
_SERIES_OF: Final = """
SELECT series_id, session_id, sensor, channel FROM series
WHERE session_id = ANY (%(session_ids)s) ORDER BY series_id
"""
_KEPT: Final = """
SELECT kept, extract(epoch FROM kept_from)::float8 * 1000 FROM retention
WHERE kept = ANY ('{window_1s,window_10s,window_60s}')
"""
_NUMBERS: Final = f"""
SELECT number, extract(epoch FROM first_time)::float8 * 1000, extract(epoch FROM last_time)::float8 * 1000
FROM message WHERE session_id = %(session_id)s AND number < {COUNTED_END}
  AND first_time >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
  AND first_time <= timestamptz 'epoch' + %(until_ms)s * interval '1 millisecond'
ORDER BY first_time
"""
_LEDGER: Final = f"""
SELECT session_id, hour, lower(part), upper(part) FROM message_ledger CROSS JOIN unnest(numbers) AS part
WHERE session_id = ANY (%(session_ids)s) AND hour BETWEEN %(from_hour)s AND %(until_hour)s
  AND lower(part) < {COUNTED_END}
ORDER BY session_id, hour, lower(part)
"""
_LEDGER_HOURS: Final = "SELECT hour FROM message_ledger WHERE session_id = %(session_id)s ORDER BY hour"
_TRACES: Final = """
SELECT trace_id FROM unnest(%(session_ids)s::bigint[], %(until_ms)s::float8[]) WITH ORDINALITY AS hole (id, until_ms, n)
LEFT JOIN LATERAL (
    SELECT trace_id FROM (
        SELECT topic, partition, "offset", broker_time FROM message WHERE session_id = hole.id
          AND first_time >= timestamptz 'epoch' + hole.until_ms * interval '1 millisecond'
        ORDER BY first_time LIMIT 1) AS next
    JOIN batch ON batch.topic = next.topic AND batch.partition = next.partition
         AND batch.committed_at BETWEEN next.broker_time AND next.broker_time + interval '1 minute'
         AND next."offset" >= offset_from AND next."offset" < offset_until
    ORDER BY batch.committed_at LIMIT 1) AS stored ON true
ORDER BY n
"""
_BODIES: Final = f"""
SELECT {_SPAN_COLUMNS}, readings, body FROM message WHERE session_id = %(session_id)s
  AND first_time >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond' - {_LONGEST_MESSAGE}
  AND first_time <= timestamptz 'epoch' + %(until_ms)s * interval '1 millisecond'
  AND last_time >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
ORDER BY first_time LIMIT %(limit)s
"""
_BODIES_AFTER: Final = f"""
SELECT {_SPAN_COLUMNS}, readings, body FROM message WHERE session_id = %(session_id)s
  AND first_time >= timestamptz 'epoch' + %(first_us)s * interval '1 microsecond'
  AND (first_time, partition, "offset") > (timestamptz 'epoch' + %(first_us)s * interval '1 microsecond',
                                           %(partition)s, %(offset)s)
ORDER BY first_time, partition, "offset" LIMIT {_PAGE}
"""
_BEGINNING: Final = -62_000_000_000_000_000  # µs: the year 5


class HistoryQueries(WindowQueries):
    """The questions. Each raises `DatabaseAwayError` while PostgreSQL does not answer."""

    page = "history"

    def sessions_of(self, device: str) -> list[SessionRow]:
        """The device's recordings, those begun last first."""
        rows = self._database.rows("sessions_of", _SESSIONS_OF, {"device": device, "limit": MOST_SESSIONS})
        return [SessionRow(*row) for row in rows]

    def series_of(self, session_ids: Sequence[int]) -> list[SeriesOf]:
        """All series of the sessions, in the order in which they were first seen."""
        rows = self._database.rows("series_of", _SERIES_OF, {"session_ids": list(session_ids)})
        return [SeriesOf(*row) for row in rows]

    def kept(self) -> dict[int, float]:
        """From which time (ms) on there are windows, by their resolution in s."""
        tables = {f"window_{resolution}s": resolution for resolution in (1, 10, 60)}
        return {tables[table]: from_ms for table, from_ms in self._database.rows("kept", _KEPT)}

    def numbers(self, session_id: int, from_ms: float, until_ms: float) -> list[NumberedSpan]:
        """The counted messages that begin in the span, by time, as far as they are still kept."""
        parameters = {"session_id": session_id, "from_ms": from_ms, "until_ms": until_ms}
        return [NumberedSpan(*row) for row in self._database.rows("numbers", _NUMBERS, parameters)]

    def ledger(self, session_ids: Sequence[int], from_hour: int, until_hour: int) -> dict[int, list[HourRange]]:
        """Which counted messages of each hour have been stored, by session; by hour and number."""
        parameters = {"session_ids": list(session_ids), "from_hour": from_hour, "until_hour": until_hour}
        found: dict[int, list[HourRange]] = {}
        for session_id, *hour_range in self._database.rows("ledger", _LEDGER, parameters):
            found.setdefault(session_id, []).append(HourRange(*hour_range))
        return found

    def traces(self, holes: Sequence[tuple[int, float]]) -> list[str | None]:
        """Of each (session, end of a hole in ms) the trace of the batch that stored the message behind the hole."""
        parameters = {"session_ids": [hole[0] for hole in holes], "until_ms": [hole[1] for hole in holes]}
        return [row[0] for row in self._database.rows("traces", _TRACES, parameters)]

    def bodies(self, session_id: int, from_ms: float, until_ms: float) -> list[MessageRow]:
        """The messages with readings in the span, by time; `MOST_BODIES` at most."""
        parameters = {"session_id": session_id, "from_ms": from_ms, "until_ms": until_ms, "limit": MOST_BODIES}
        return [MessageRow(*row) for row in self._database.rows("bodies", _BODIES, parameters)]

    def bodies_after(self, session_id: int, after: MessageRow | None) -> list[MessageRow]:
        """The next of the session's kept messages by time, behind `after`; none behind the last one."""
        place = (_BEGINNING, -1, -1) if after is None else (after.first_us, after.partition, after.offset)
        parameters = {"session_id": session_id, **dict(zip(("first_us", "partition", "offset"), place, strict=True))}
        return [MessageRow(*row) for row in self._database.rows("bodies_after", _BODIES_AFTER, parameters)]

    def ledger_hours(self, session_id: int) -> list[int]:
        """The hours (since the epoch) in which the session has messages."""
        rows = self._database.rows("ledger_hours", _LEDGER_HOURS, {"session_id": session_id})
        return [row[0] for row in rows]
