"""What the Live page asks."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.dashboard.database import Row
from services.dashboard.queries.windows import Window, WindowQueries

RECENT_SESSIONS: Final = 300
"""How many sessions the page offers for choosing: those that were begun last."""
NEWEST_SPANS: Final = 400
"""How many messages are looked at to learn where a session is."""
MOST_CHANGES: Final = 500
"""How many changes of a text series are told, the newest."""


class SessionRow(NamedTuple):
    """One recording and its device. Times of readings are the phone's; `last_seen_ms` is the broker's."""

    session_id: int
    device: str
    device_name: str | None
    session: str
    first_time_ms: float | None
    last_time_ms: float | None
    last_seen_ms: float
    messages: int
    readings: int
    title: str | None = None
    platform: str | None = None
    standardised: bool | None = None


class SeriesRow(NamedTuple):
    """One channel of one sensor, and whether it has numbers, texts or both."""

    series_id: int
    sensor: str
    channel: str
    has_numbers: bool
    has_texts: bool


class SpanRow(NamedTuple):
    """Where a message stands: its offset, the times of its readings, and when the broker got it."""

    partition: int
    offset: int
    first_us: int
    last_us: int
    broker_us: int


class MessageRow(NamedTuple):
    """One stored message. Readings outside [first_us, last_us] are in quarantine.

    `body` is None where nothing but the span is needed.
    """

    partition: int
    offset: int
    first_us: int
    last_us: int
    broker_us: int
    readings: int
    body: memoryview | None


class Look(NamedTuple):
    """What one look at a session found, all of one moment; `at_us` is that moment by PostgreSQL's clock."""

    session: SessionRow
    at_us: int
    messages: list[MessageRow]


class TextRow(NamedTuple):
    """One text reading."""

    series_id: int
    time_ms: float
    value: str


Cursor = Mapping[int, int]
"""The newest offset that has been seen, by partition."""

_SESSION_COLUMNS = """
    session.session_id, device, name, session,
    extract(epoch FROM session.first_time)::float8 * 1000, extract(epoch FROM session.last_time)::float8 * 1000,
    extract(epoch FROM session.last_seen)::float8 * 1000, session.messages, session.readings,
    title, platform, standardised
"""
_RECENT_SESSIONS = f"""
SELECT {_SESSION_COLUMNS} FROM session JOIN device USING (device_id)
WHERE session.messages > 0 ORDER BY session_id DESC LIMIT %(limit)s
"""
_FIND_SESSION = f"""
SELECT {_SESSION_COLUMNS} FROM device JOIN session USING (device_id)
WHERE device = %(device)s AND session.messages > 0 AND (%(session)s::text IS NULL OR session = %(session)s)
ORDER BY session.last_seen DESC, session_id DESC LIMIT 1
"""
_SERIES = """
SELECT series_id, sensor, channel,
       EXISTS (SELECT FROM window_60s WHERE window_60s.series_id = series.series_id),
       EXISTS (SELECT FROM text_reading WHERE text_reading.series_id = series.series_id)
FROM series WHERE session_id = %(session_id)s ORDER BY series_id
"""
_SPAN_COLUMNS = """
    partition, "offset", (extract(epoch FROM first_time) * 1000000)::bigint,
    (extract(epoch FROM last_time) * 1000000)::bigint, (extract(epoch FROM broker_time) * 1000000)::bigint AS broker_us
"""
# A session's messages lie in one Kafka partition unless the topic was given more of them: each is looked into.
_NEWEST_SPANS = f"""
SELECT found.* FROM partition_progress AS progress CROSS JOIN LATERAL (
    SELECT {_SPAN_COLUMNS} FROM message WHERE session_id = %(session_id)s AND message.partition = progress.partition
    ORDER BY "offset" DESC LIMIT %(limit)s) AS found
ORDER BY broker_us DESC
"""
_LOOK = f"""
SELECT {_SESSION_COLUMNS}, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, found.*
FROM session JOIN device USING (device_id) LEFT JOIN (
    SELECT message.* FROM partition_progress AS progress
    LEFT JOIN unnest(%(partitions)s::integer[], %(offsets)s::bigint[]) AS seen (partition, until) USING (partition)
    CROSS JOIN LATERAL (
        SELECT {_SPAN_COLUMNS}, readings,
               CASE WHEN last_time >= timestamptz 'epoch' + %(full_us)s * interval '1 microsecond' OR texts > 0
                    THEN body END
        FROM message WHERE session_id = %(session_id)s AND message.partition = progress.partition
          AND "offset" > COALESCE(seen.until, -1)
          AND broker_time >= timestamptz 'epoch' + %(broker_us)s * interval '1 microsecond') AS message
    ) AS found ON true
WHERE session.session_id = %(session_id)s AND session.messages > 0
ORDER BY found."offset"
"""
_NEWEST_WINDOWS = """
SELECT wanted.id, extract(epoch FROM start)::float8 * 1000, count, CASE WHEN is_counter THEN max ELSE mean END,
       m2, min, max
FROM unnest(%(series_ids)s::bigint[]) AS wanted (id) JOIN series ON series_id = wanted.id CROSS JOIN LATERAL (
    SELECT * FROM window_1s WHERE series_id = wanted.id
      AND start >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
    ORDER BY start DESC LIMIT 1) AS newest
"""
# Of the texts in the span, and the one before it, those that differ from the one before them.
_TEXT_CHANGES = """
SELECT wanted.id, time_ns / 1e6::float8, value
FROM unnest(%(series_ids)s::bigint[], %(are_events)s::boolean[]) AS wanted (id, is_event) CROSS JOIN LATERAL (
    SELECT time_ns, number, position, value FROM (
        SELECT *, lag(value) OVER (ORDER BY time_ns, number, position) AS before
        FROM (
            (SELECT time_ns, number, position, left(value, %(length)s) AS value FROM text_reading
             WHERE series_id = wanted.id AND time_ns >= %(from_ns)s AND time_ns <= %(until_ns)s)
            UNION ALL
            (SELECT time_ns, number, position, left(value, %(length)s) FROM text_reading
             WHERE series_id = wanted.id AND time_ns < %(from_ns)s
             ORDER BY time_ns DESC, number DESC, position DESC LIMIT 1)
        ) AS told
    ) AS compared
    WHERE is_event OR value IS DISTINCT FROM before
    ORDER BY time_ns DESC, number DESC, position DESC LIMIT %(limit)s) AS newest
ORDER BY time_ns, number, position
"""
_TEXT_AT = """
SELECT value FROM series JOIN text_reading USING (series_id)
WHERE session_id = %(session_id)s AND sensor = %(sensor)s AND channel = %(channel)s
  AND time_ns BETWEEN %(time_ns)s - 100000 AND %(time_ns)s + 100000
ORDER BY abs(time_ns - %(time_ns)s) LIMIT 1
"""


class Queries(WindowQueries):
    """The questions. Each raises `DatabaseAwayError` while PostgreSQL does not answer."""

    page = "window"

    def is_answered(self) -> bool:
        """True when PostgreSQL answers."""
        return self._database.rows("ready", "SELECT 1") == [(1,)]

    def recent_sessions(self) -> list[SessionRow]:
        """The recordings that were begun last; among them the one heard of last comes first."""
        rows = self._database.rows("recent_sessions", _RECENT_SESSIONS, {"limit": RECENT_SESSIONS})
        return sorted((SessionRow(*row) for row in rows), key=lambda row: row.last_seen_ms, reverse=True)

    def find_session(self, device: str, session: str | None) -> SessionRow | None:
        """The device's recording of that name, or the one heard of last."""
        rows = self._database.rows("find_session", _FIND_SESSION, {"device": device, "session": session})
        return SessionRow(*rows[0]) if rows else None

    def series(self, session_id: int) -> list[SeriesRow]:
        """All series of a session, in the order in which they were first seen."""
        rows = self._database.rows("series", _SERIES, {"session_id": session_id})
        return [SeriesRow(*row) for row in rows]

    def newest_spans(self, session_id: int) -> list[SpanRow]:
        """The messages of the session that came last, the newest first."""
        parameters = {"session_id": session_id, "limit": NEWEST_SPANS}
        return [SpanRow(*row) for row in self._database.rows("newest_spans", _NEWEST_SPANS, parameters)]

    def look(self, session_id: int, seen: Cursor, broker_us: int, full_us: int) -> Look | None:
        """The session and its messages beyond the offsets in `seen`, in their order; None if it is not there.

        Only messages that the broker got at `broker_us` or later, whatever the times of their readings. Bodies come
        with those that reach beyond `full_us` or hold texts.
        """
        parameters = {
            "session_id": session_id,
            "partitions": list(seen.keys()),
            "offsets": list(seen.values()),
            "broker_us": broker_us,
            "full_us": full_us,
        }
        rows = self._database.rows("look", _LOOK, parameters)
        return _look_of(rows) if rows else None

    def newest_windows(self, series_ids: Sequence[int], from_ms: float) -> list[Window]:
        """The newest 1 s window of each series that begins at `from_ms` or later."""
        parameters = {"series_ids": list(series_ids), "from_ms": from_ms}
        return [Window(*row) for row in self._database.rows("newest_windows", _NEWEST_WINDOWS, parameters)]

    def text_changes(
        self, are_events: Mapping[int, bool], from_ms: float, until_ms: float, length: int
    ) -> list[TextRow]:
        """The newest texts of each series in the span that differ from the one before, the state before it included.

        `are_events` says for each series whether a text that repeats another is news too. Each text is cut at
        `length` characters; they come in the order of their times.
        """
        parameters = {
            "series_ids": list(are_events),
            "are_events": list(are_events.values()),
            "from_ns": int(from_ms * 1e6),
            "until_ns": int(until_ms * 1e6),
            "limit": MOST_CHANGES,
            "length": length,
        }
        return [TextRow(*row) for row in self._database.rows("text_changes", _TEXT_CHANGES, parameters)]

    def text_at(self, session_id: int, sensor: str, channel: str, time_ms: float) -> str | None:
        """The whole text of a channel at a time that is right to a tenth of a ms."""
        parameters = {
            "session_id": session_id,
            "sensor": sensor,
            "channel": channel,
            "time_ns": round(time_ms * 10) * 100_000,
        }
        rows = self._database.rows("text_at", _TEXT_AT, parameters)
        return rows[0][0] if rows else None


def _look_of(rows: Sequence[Row]) -> Look:
    width = len(SessionRow._fields)
    session, at_us = SessionRow(*rows[0][:width]), rows[0][width]
    return Look(session, at_us, [MessageRow(*row[width + 1 :]) for row in rows if row[width + 1] is not None])
