"""Devices and sessions of a batch: locked and found first, and their figures brought up to date last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # the class has a lower-case name
from psycopg2.extras import execute_values

from services.stream import sql
from services.stream.decode import BadRecord, Entry
from services.stream.windows import Values

Ids = dict[tuple[str, str], int]
"""session_id by (device, session)"""


class Found(NamedTuple):
    """Which sessions there are, and which entries may be stored in them: those that came after the last deletion."""

    ids: Ids
    entries: list[Entry]
    deleted: list[Entry]


def lock_sessions(cursor: Cursor, entries: Sequence[Entry]) -> Found:
    """Lock the devices, make what is missing of devices and sessions, and tell what has been deleted since."""
    if not entries:
        return Found({}, [], [])
    deleted_devices = _lock_devices(cursor, entries)
    alive = [entry for entry in entries if entry.record.broker_us > deleted_devices.get(entry.device, -1)]
    found = _find_sessions(cursor, alive) if alive else {}
    deleted_us = {pair: until_us for pair, (_, until_us) in found.items() if until_us is not None}
    if deleted_us:
        alive = [entry for entry in alive if entry.record.broker_us > deleted_us.get((entry.device, entry.session), -1)]
    remaining = {id(entry) for entry in alive} if len(alive) < len(entries) else set()
    deleted = [entry for entry in entries if id(entry) not in remaining] if remaining or not alive else []
    return Found({pair: session_id for pair, (session_id, _) in found.items()}, alive, deleted)


def without_deleted(cursor: Cursor, bad_records: list[BadRecord]) -> list[BadRecord]:
    """The records without those of devices that were deleted after they came: a record's key is its device."""
    keys = {bad.record.key for bad in bad_records if bad.record.key}
    if not keys:
        return bad_records
    names = {key: key.decode(errors="replace").replace("\0", "") for key in keys}
    cursor.execute(sql.FIND_DELETED, {"devices": sorted(names.values())})
    until_us = dict(cursor.fetchall())
    return [bad for bad in bad_records if bad.record.broker_us > until_us.get(names.get(bad.record.key or b"", ""), -1)]


def remember(cursor: Cursor, entries: Iterable[Entry], new: Sequence[Entry], values: Values, ids: Ids) -> None:
    """Bring the sessions' and devices' figures up to date."""
    figures: dict[int, _Figures] = {}
    for entry in entries:
        figures.setdefault(ids[entry.device, entry.session], _Figures()).add_received(entry)
    for entry, counts, not_known in zip(new, values.counts, values.not_known, strict=True):
        figures[ids[entry.device, entry.session]].add_stored(entry, counts, not_known)
    if figures:
        rows = [figures[session_id].row(session_id) for session_id in sorted(figures)]
        execute_values(cursor, sql.UPDATE_SESSIONS, rows, sql.UPDATE_SESSIONS_ROW, page_size=len(rows))
        cursor.execute(sql.UPDATE_DEVICES, {"session_ids": list(figures)})


def _newest(entries: Iterable[Entry]) -> dict[str, list[object]]:
    """(device, session) pairs in order, as columns, with the broker time of the newest entry of each."""
    newest: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.device, entry.session)
        newest[key] = max(newest.get(key, 0), entry.record.broker_us)
    pairs = sorted(newest)
    return {
        "devices": [device for device, _ in pairs],
        "sessions": [session for _, session in pairs],
        "broker_us": [newest[pair] for pair in pairs],
    }


def _lock_devices(cursor: Cursor, entries: Sequence[Entry]) -> dict[str, int]:
    """Lock the entries' devices, sorted; returns when those that were deleted were, in µs since the epoch."""
    columns = _newest(entries)
    cursor.execute(sql.LOCK_DEVICES, columns)
    rows = cursor.fetchall()
    if len(rows) < len(set(columns["devices"])):
        cursor.execute(sql.MAKE_DEVICES, columns)
        cursor.execute(sql.LOCK_DEVICES, columns)
        rows = cursor.fetchall()
    return {device: deleted_us for device, deleted_us in rows if deleted_us is not None}


def _find_sessions(cursor: Cursor, entries: Sequence[Entry]) -> dict[tuple[str, str], tuple[int, int | None]]:
    """(session_id, when it was deleted in µs) by (device, session); missing ones are made."""
    columns = _newest(entries)
    cursor.execute(sql.FIND_SESSIONS, columns)
    found = cursor.fetchall()
    if len(found) < len(columns["devices"]):
        cursor.execute(sql.MAKE_SESSIONS, columns)
        cursor.execute(sql.FIND_SESSIONS, columns)
        found = cursor.fetchall()
    return {(device, session): (session_id, deleted_us) for device, session, session_id, deleted_us in found}


@dataclass(slots=True)
class _Figures:
    """What a batch adds to one session's row. Times in µs since the epoch."""

    received: int = 0
    messages: int = 0
    readings: int = 0
    readings_quarantined: int = 0
    numeric_values: int = 0
    text_values: int = 0
    not_known: int = 0
    late: int = 0
    first_us: int | None = None
    last_us: int | None = None
    broker_us: int = 0

    def add_received(self, entry: Entry) -> None:
        self.received += 1
        self.broker_us = max(self.broker_us, entry.record.broker_us)

    def add_stored(self, entry: Entry, counts: tuple[int, int], not_known: int) -> None:
        self.messages += 1
        self.readings += len(entry.readings)
        self.readings_quarantined += len(entry.bad_readings)
        self.numeric_values += counts[0]
        self.text_values += counts[1]
        self.not_known += not_known
        self.late += entry.is_late
        if span := entry.span_us:
            self.first_us = min(self.first_us or span[0], span[0])
            self.last_us = max(self.last_us or span[1], span[1])

    def row(self, session_id: int) -> tuple[int | None, ...]:
        return (
            session_id,
            self.messages,
            self.received - self.messages,
            self.readings,
            self.readings_quarantined,
            self.numeric_values,
            self.text_values,
            self.not_known,
            self.late,
            self.first_us,
            self.last_us,
            self.broker_us,
        )
