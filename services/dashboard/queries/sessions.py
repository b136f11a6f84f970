"""Questions about sessions: which there are, what is missing of each, and how regularly its sensors measure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from services.dashboard.database import Database
from services.dashboard.queries.live import MessageRow

PAGE_SIZE: Final = 25
NEWEST_MESSAGES: Final = 8
"""How many messages of a session the regularity of the sensors is measured on."""

Order = Literal["newest", "heard", "start", "length", "messages", "phone"]
_ORDERS: Final[dict[Order, str]] = {
    "newest": "session_id DESC",
    "heard": "session.last_seen DESC, session_id DESC",
    "start": "session.first_time DESC NULLS LAST, session_id DESC",
    "length": "session.last_time - session.first_time DESC NULLS LAST, session_id DESC",
    "messages": "session.messages DESC, session_id DESC",
    "phone": "lower(coalesce(device.name, device.device)), session_id DESC",
}


class SessionSummary(NamedTuple):
    """One session. `missing` messages are those whose numbers were skipped; times of readings are the phone's."""

    session_id: int
    device: str
    device_name: str | None
    session: str
    name: str | None
    notes: str | None
    first_time: datetime | None
    last_time: datetime | None
    last_seen: datetime
    sensors: Sequence[str]
    readings: int
    received: int
    missing: int
    late: int
    duplicates: int
    readings_quarantined: int
    missing_ranges: Sequence[str]


class SensorRate(NamedTuple):
    """A session's sensor and its readings per second over the newest minutes; None where it has too few of them."""

    session_id: int
    sensor: str
    hz: float | None


_SEARCH: Final = """
session.messages > 0 AND (%(search)s = '' OR
    concat_ws(E'\\n', device.device, device.name, session.session, session.title, session.notes) ILIKE %(pattern)s)
"""
_COUNT: Final = f"SELECT count(*) FROM session JOIN device USING (device_id) WHERE {_SEARCH}"
_SUMMARY: Final = """
SELECT ledger.session_id, ledger.device, ledger.device_name, ledger.session, session.title, session.notes,
       ledger.first_time, ledger.last_time, ledger.last_seen,
       ARRAY(SELECT DISTINCT sensor FROM series WHERE series.session_id = page.session_id ORDER BY sensor),
       ledger.readings, ledger.received, ledger.missing, ledger.late, ledger.duplicates,
       ledger.readings_quarantined, ledger.missing_ranges
FROM ({page}) AS page JOIN session USING (session_id) JOIN session_ledger AS ledger USING (session_id) ORDER BY place
"""
_PAGE: Final = """
SELECT session_id, row_number() OVER (ORDER BY {order}) AS place FROM session JOIN device USING (device_id)
WHERE {search} ORDER BY place LIMIT %(limit)s OFFSET %(offset)s
"""
_ONE: Final = "SELECT %(session_id)s::bigint AS session_id, 1 AS place"
# Of sensors too slow for the newest messages; the newest window may be half empty and is left out.
_RATES: Final = """
SELECT session_id, sensor, (SELECT avg(count) / 10.0 FROM (
    SELECT count FROM window_10s WHERE window_10s.series_id = one.series_id ORDER BY start DESC LIMIT 30 OFFSET 1
    ) AS full_ones)
FROM (SELECT session_id, sensor, min(series_id) AS series_id FROM series
      WHERE session_id = ANY (%(session_ids)s) GROUP BY session_id, sensor) AS one
ORDER BY session_id, sensor
"""
_NEWEST: Final = """
SELECT found.* FROM unnest(%(session_ids)s::bigint[]) AS wanted (id)
CROSS JOIN partition_progress AS progress CROSS JOIN LATERAL (
    SELECT session_id, partition, "offset", (extract(epoch FROM first_time) * 1000000)::bigint,
           (extract(epoch FROM last_time) * 1000000)::bigint, (extract(epoch FROM broker_time) * 1000000)::bigint,
           readings, body
    FROM message WHERE session_id = wanted.id AND message.partition = progress.partition
    ORDER BY "offset" DESC LIMIT %(limit)s) AS found
"""


class SessionQueries:
    """The questions. Each raises `DatabaseAwayError` while PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, search: str) -> int:
        """How many sessions fit the search: a part of a name, of the notes, or of an id."""
        [[count]] = self._database.rows("count_sessions", _COUNT, _searched(search))
        return int(count)

    def page(self, search: str, order: str, number: int) -> list[SessionSummary]:
        """The sessions of page `number` (from 0) of those that fit the search."""
        chosen = _ORDERS.get(order, _ORDERS["newest"])  # type: ignore[call-overload]
        statement = _SUMMARY.format(page=_PAGE.format(order=chosen, search=_SEARCH))
        place = {"limit": PAGE_SIZE, "offset": PAGE_SIZE * max(0, number)}
        return [SessionSummary(*row) for row in self._database.rows("sessions", statement, _searched(search) | place)]

    def one(self, session_id: int) -> SessionSummary | None:
        """The session, unless it has been deleted."""
        rows = self._database.rows("session", _SUMMARY.format(page=_ONE), {"session_id": session_id})
        return SessionSummary(*rows[0]) if rows else None

    def rates(self, session_ids: Sequence[int]) -> list[SensorRate]:
        """The sensors of the sessions and how often they measure, by session and sensor."""
        rows = self._database.rows("session_rates", _RATES, {"session_ids": list(session_ids)})
        return [SensorRate(session_id, sensor, None if hz is None else float(hz)) for session_id, sensor, hz in rows]

    def newest_messages(self, session_ids: Sequence[int]) -> dict[int, list[MessageRow]]:
        """The newest messages of each session that are still kept."""
        parameters = {"session_ids": list(session_ids), "limit": NEWEST_MESSAGES}
        found: dict[int, list[MessageRow]] = {}
        for session_id, *row in self._database.rows("newest_messages", _NEWEST, parameters):
            found.setdefault(session_id, []).append(MessageRow(*row))
        return found


def _searched(search: str) -> dict[str, object]:
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {"search": search, "pattern": f"%{escaped}%"}
