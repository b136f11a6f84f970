"""Every question the dashboard asks PostgreSQL, as typed rows. Times are µs or ms since the Unix epoch, as named."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.dashboard.database import Database

RECENT_SESSIONS: Final = 200
"""How many sessions the page offers for choosing, the newest first."""
NEWEST_TEXTS: Final = 40
"""How many text readings of a series are fetched when a page opens."""


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


class SeriesRow(NamedTuple):
    """One channel of one sensor, and whether it has numbers, texts or both."""

    series_id: int
    sensor: str
    channel: str
    has_numbers: bool
    has_texts: bool


class MessageRow(NamedTuple):
    """One stored message. Readings outside [first_us, last_us] are in quarantine."""

    partition: int
    offset: int
    first_us: int
    last_us: int
    readings: int
    body: memoryview


class WindowRow(NamedTuple):
    """One window of one series; `start_ms` is where it begins."""

    series_id: int
    start_ms: float
    mean: float
    min: float
    max: float


class TextRow(NamedTuple):
    """One text reading."""

    series_id: int
    time_ms: float
    value: str


Cursor = Mapping[int, int]
"""The newest offset that has been seen, by partition."""

_SESSION_COLUMNS = """
    session_id, device, name, session,
    extract(epoch FROM first_time)::float8 * 1000, extract(epoch FROM last_time)::float8 * 1000,
    extract(epoch FROM session.last_seen)::float8 * 1000, messages, readings
"""
_RECENT_SESSIONS = f"""
SELECT {_SESSION_COLUMNS} FROM session JOIN device USING (device_id)
ORDER BY session.last_seen DESC, session_id DESC LIMIT %(limit)s
"""
_FIND_SESSION = f"""
SELECT {_SESSION_COLUMNS} FROM session JOIN device USING (device_id)
WHERE (%(device)s::text IS NULL OR device = %(device)s) AND (%(session)s::text IS NULL OR session = %(session)s)
ORDER BY session.last_seen DESC, session_id DESC LIMIT 1
"""
_SERIES = """
SELECT series_id, sensor, channel,
       EXISTS (SELECT FROM window_60s WHERE window_60s.series_id = series.series_id),
       EXISTS (SELECT FROM text_reading WHERE text_reading.series_id = series.series_id)
FROM series WHERE session_id = %(session_id)s ORDER BY series_id
"""
_NEW_MESSAGES = """
SELECT message.partition, message."offset", (extract(epoch FROM first_time) * 1000000)::bigint,
       (extract(epoch FROM last_time) * 1000000)::bigint, readings, body
FROM message LEFT JOIN unnest(%(partitions)s::integer[], %(offsets)s::bigint[]) AS seen (partition, "offset")
     ON seen.partition = message.partition
WHERE session_id = %(session_id)s
  AND first_time >= timestamptz 'epoch' + %(first_us)s * interval '1 microsecond'
  AND last_time >= timestamptz 'epoch' + %(last_us)s * interval '1 microsecond'
  AND message."offset" > COALESCE(seen."offset", -1)
ORDER BY message."offset"
"""
_WINDOW_RANGE = """
WHERE series_id = ANY (%(series_ids)s)
  AND start >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
  AND start <= timestamptz 'epoch' + %(until_ms)s * interval '1 millisecond'
"""
_WINDOWS = """
SELECT series_id, extract(epoch FROM start)::float8 * 1000, mean, min, max
FROM {table} {range} ORDER BY series_id, start
"""
_MERGED_WINDOWS = """
SELECT series_id, extract(epoch FROM bin)::float8 * 1000, sum(mean * count) / sum(count), min(min), max(max)
FROM (SELECT *, date_bin(make_interval(secs => %(step_s)s), start, timestamptz 'epoch') AS bin
      FROM {table} {range}) AS part
GROUP BY series_id, bin ORDER BY series_id, bin
"""
_NEWEST_WINDOWS = """
SELECT series_id, extract(epoch FROM start)::float8 * 1000, mean, min, max
FROM unnest(%(series_ids)s::bigint[]) AS wanted (id) CROSS JOIN LATERAL (
    SELECT * FROM window_1s WHERE series_id = wanted.id
      AND start >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
    ORDER BY start DESC LIMIT 1) AS newest
"""
_NEWEST_TEXTS = """
SELECT series_id, time_ns / 1e6::float8, value
FROM unnest(%(series_ids)s::bigint[]) AS wanted (id) CROSS JOIN LATERAL (
    SELECT series_id, time_ns, number, position, left(value, %(length)s) AS value FROM text_reading
    WHERE series_id = wanted.id ORDER BY time_ns DESC LIMIT %(limit)s) AS newest
ORDER BY time_ns, number, position
"""


class Queries:
    """The questions. Each raises `DatabaseAwayError` while PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_answered(self) -> bool:
        """True when PostgreSQL answers."""
        return self._database.rows("ready", "SELECT 1") == [(1,)]

    def recent_sessions(self) -> list[SessionRow]:
        """The recordings that were heard of last, the newest first."""
        rows = self._database.rows("recent_sessions", _RECENT_SESSIONS, {"limit": RECENT_SESSIONS})
        return [SessionRow(*row) for row in rows]

    def find_session(self, device: str | None, session: str | None) -> SessionRow | None:
        """The newest recording; of that device and with that name, where given."""
        rows = self._database.rows("find_session", _FIND_SESSION, {"device": device, "session": session})
        return SessionRow(*rows[0]) if rows else None

    def series(self, session_id: int) -> list[SeriesRow]:
        """All series of a session, in the order in which they were first seen."""
        rows = self._database.rows("series", _SERIES, {"session_id": session_id})
        return [SeriesRow(*row) for row in rows]

    def new_messages(self, session_id: int, seen: Cursor, first_us: int, last_us: int) -> list[MessageRow]:
        """Messages beyond the offsets in `seen`, in their order, from `first_us` on and not over before `last_us`."""
        parameters = {
            "session_id": session_id,
            "partitions": list(seen.keys()),
            "offsets": list(seen.values()),
            "first_us": first_us,
            "last_us": last_us,
        }
        return [MessageRow(*row) for row in self._database.rows("new_messages", _NEW_MESSAGES, parameters)]

    def windows(self, series_ids: Sequence[int], step_s: int, from_ms: float, until_ms: float) -> list[WindowRow]:
        """Windows of `step_s` seconds that begin in [from_ms, until_ms], by series and time.

        They come from the coarsest stored resolution that divides the step, merged where the step is longer.
        """
        resolution_s = max(resolution for resolution in (1, 10, 60) if step_s % resolution == 0)
        statement = _WINDOWS if step_s == resolution_s else _MERGED_WINDOWS
        rows = self._database.rows(
            f"window_{resolution_s}s",
            statement.format(table=f"window_{resolution_s}s", range=_WINDOW_RANGE),
            {"series_ids": list(series_ids), "from_ms": from_ms, "until_ms": until_ms, "step_s": step_s},
        )
        return [WindowRow(*row) for row in rows]

    def newest_windows(self, series_ids: Sequence[int], from_ms: float) -> list[WindowRow]:
        """The newest 1 s window of each series that begins at `from_ms` or later."""
        parameters = {"series_ids": list(series_ids), "from_ms": from_ms}
        return [WindowRow(*row) for row in self._database.rows("newest_windows", _NEWEST_WINDOWS, parameters)]

    def newest_texts(self, series_ids: Sequence[int], length: int) -> list[TextRow]:
        """The newest text readings of each series, each cut at `length` characters, in the order of their times."""
        parameters = {"series_ids": list(series_ids), "limit": NEWEST_TEXTS, "length": length}
        return [TextRow(*row) for row in self._database.rows("newest_texts", _NEWEST_TEXTS, parameters)]
