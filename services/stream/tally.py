"""What the ledger knows and is told: which messages are stored, and how many values and messages of each hour."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # the class has a lower-case name

from services.stream import sql
from services.stream.decode import HOUR_NS, Entry, Record
from services.stream.sessions import Ids

HOUR_US: Final = HOUR_NS // 1000


def without_stored(cursor: Cursor, entries: list[Entry], sessions: Ids) -> list[Entry]:
    """The entries that the ledger does not know."""
    if not entries:
        return []
    cursor.execute(sql.FIND_STORED, _ledger_columns(entries, sessions))
    stored = {position for (position,) in cursor.fetchall()}
    return [entry for position, entry in enumerate(entries, start=1) if position not in stored]


class Tally:
    """How many values a batch adds in each hour of each session: by (session_id, hour) numbers and texts."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, session_id: int, hour: int, numbers: int, texts: int) -> None:
        """Count values of one hour."""
        counts = self._counts[session_id, hour]
        counts[0] += numbers
        counts[1] += texts

    def columns(self) -> dict[str, list[int]]:
        """Parallel columns for `sql.ADD_TO_LEDGER`."""
        return {
            "value_session_ids": [session_id for session_id, _ in self._counts],
            "value_hours": [hour for _, hour in self._counts],
            "numeric_values": [numbers for numbers, _ in self._counts.values()],
            "text_values": [texts for _, texts in self._counts.values()],
        }


def add_to_ledger(cursor: Cursor, new: Sequence[Entry], sessions: Ids, tally: Tally) -> None:
    """Remember which messages are stored now, and how many values of each hour."""
    columns = _ledger_columns(new, sessions) | tally.columns()
    if new or columns["value_hours"]:
        cursor.execute(sql.ADD_TO_LEDGER, columns)


def add_to_hours(cursor: Cursor, record: Record, messages: Iterable[tuple[int, int]]) -> None:
    """Count (broker time in µs, readings) of messages that lie in `message`, all of the partition of `record`."""
    hours, readings = zip(*((broker_us // HOUR_US, readings) for broker_us, readings in messages), strict=True)
    columns = {"topic": record.topic, "partition": record.partition, "hours": list(hours), "readings": list(readings)}
    cursor.execute(sql.ADD_TO_HOURS, columns)


def _ledger_columns(entries: Sequence[Entry], sessions: Ids) -> dict[str, list[int]]:
    return {
        "session_ids": [sessions[entry.device, entry.session] for entry in entries],
        "hours": [entry.hour for entry in entries],
        "numbers": [entry.number for entry in entries],
    }
