"""Entries to PostgreSQL: one transaction per partition of a micro-batch, in which storing is exactly once.

Order of the locks: the devices of the batch first, sorted. Everything else belongs to one device, so two transactions
that meet (a retried task, a second stream) wait for each other there, and what the first one committed is a duplicate
for the second.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import zstandard
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import execute_values

from services.stream import sql
from services.stream.decode import BadRecord, Entry, Record, first_of_each
from services.stream.receipts import BatchKey, Receipt, Steps
from services.stream.windows import Values, windows

WHOLE_RECORD: Final = -1
Ids = dict[tuple[str, str], int]
"""session_id by (device, session)"""


def prepare(connection: Connection) -> None:
    """Give a new connection the temporary table that every `store` on it uses."""
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.MAKE_PARTIAL_WINDOW)


def store(
    connection: Connection,
    batch: BatchKey,
    entries: list[Entry],
    bad_records: list[BadRecord],
    trace_id: str | None = None,
) -> Receipt:
    """Store one partition of a micro-batch, or find that it has been stored before; returns its receipt.

    Leaves the transaction open: commit makes all of it durable, rollback none of it. Raises `psycopg2.Error`.
    """
    steps = Steps()
    with connection.cursor() as cursor:
        if stored := _stored_before(cursor, batch):
            return stored
        sessions = _lock_sessions(cursor, entries)
        new = _without_stored(cursor, first_of_each(entries), sessions)
        quarantined = _quarantine_records(cursor, bad_records)
        _quarantine_readings(cursor, new)
        steps.end("lock")
        values = Values(new)
        table = windows(values) if values.number_values else None
        steps.end("aggregate")
        series = _series_ids(cursor, values, sessions)
        _merge_windows(cursor, table, series)
        _copy_texts(cursor, values, series)
        _copy_messages(cursor, new, values, sessions)
        _remember(cursor, entries, new, sessions)
        receipt = Receipt.of(batch, entries, new, bad_records, quarantined)
        receipt = msgspec.structs.replace(receipt, trace_id=trace_id)
        if not _write_batch(cursor, receipt):
            return _lost_race(connection, batch)
        steps.end("write")
        return msgspec.structs.replace(receipt, seconds=steps.seconds)


def _stored_before(cursor: Cursor, batch: BatchKey) -> Receipt | None:
    cursor.execute(sql.FIND_BATCH, batch)
    row = cursor.fetchone()
    return Receipt.of_row(batch, row) if row else None


def _lost_race(connection: Connection, batch: BatchKey) -> Receipt:
    """Another attempt at the same partition committed while this one waited for its locks: its row counts."""
    connection.rollback()
    with connection.cursor() as cursor:
        stored = _stored_before(cursor, batch)
    assert stored is not None
    return stored


def _lock_sessions(cursor: Cursor, entries: Iterable[Entry]) -> Ids:
    """Lock the devices, make what is missing of devices and sessions, and return the sessions' ids."""
    newest: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.device, entry.session)
        newest[key] = max(newest.get(key, 0), entry.record.broker_us)
    if not newest:
        return {}
    pairs = sorted(newest)
    devices = [device for device, _ in pairs]
    columns = {
        "devices": devices,
        "sessions": [session for _, session in pairs],
        "broker_us": [newest[pair] for pair in pairs],
    }
    cursor.execute(sql.LOCK_DEVICES, columns)
    if len(cursor.fetchall()) < len(set(devices)):
        cursor.execute(sql.MAKE_DEVICES, columns)
        cursor.execute(sql.LOCK_DEVICES, columns)
    cursor.execute(sql.FIND_SESSIONS, columns)
    found = cursor.fetchall()
    if len(found) < len(pairs):
        cursor.execute(sql.MAKE_SESSIONS, columns)
        cursor.execute(sql.FIND_SESSIONS, columns)
        found = cursor.fetchall()
    return {(device, session): session_id for device, session, session_id in found}


def _ledger_columns(entries: Sequence[Entry], sessions: Ids) -> dict[str, list[int]]:
    return {
        "session_ids": [sessions[entry.device, entry.session] for entry in entries],
        "hours": [entry.hour for entry in entries],
        "numbers": [entry.number for entry in entries],
    }


def _without_stored(cursor: Cursor, entries: list[Entry], sessions: Ids) -> list[Entry]:
    """The entries that the ledger does not know; the ledger then knows them too."""
    if not entries:
        return []
    cursor.execute(sql.FIND_STORED, _ledger_columns(entries, sessions))
    stored = {position for (position,) in cursor.fetchall()}
    new = [entry for position, entry in enumerate(entries, start=1) if position not in stored]
    if new:
        cursor.execute(sql.ADD_TO_LEDGER, _ledger_columns(new, sessions))
    return new


def _quarantine_records(cursor: Cursor, bad_records: list[BadRecord]) -> int:
    """Keep the bad records; returns how many were not there before."""
    rows = [
        (*_place(bad.record), WHOLE_RECORD, bad.reason, bad.detail, None, None, bad.record.key, bad.record.value or b"")
        for bad in bad_records
    ]
    return len(execute_values(cursor, sql.QUARANTINE, rows, sql.QUARANTINE_ROW, fetch=True)) if rows else 0


def _quarantine_readings(cursor: Cursor, entries: list[Entry]) -> None:
    rows = [
        (
            *_place(entry.record),
            bad.position,
            bad.reason,
            bad.detail,
            entry.device,
            entry.session,
            entry.record.key,
            bad.content,
        )
        for entry in entries
        for bad in entry.bad_readings
    ]
    if rows:
        execute_values(cursor, sql.QUARANTINE, rows, sql.QUARANTINE_ROW)


def _place(record: Record) -> tuple[str, int, int, int]:
    return record.topic, record.partition, record.offset, record.broker_us


def _series_ids(cursor: Cursor, values: Values, sessions: Ids) -> list[int]:
    """The ids of `values.series`, in their order; missing ones are made."""
    if not values.series:
        return []
    keys = [(sessions[device, session], sensor, channel) for device, session, sensor, channel in values.series]
    session_ids, sensors, channels = (list(column) for column in zip(*keys, strict=True))
    columns = {"session_ids": session_ids, "sensors": sensors, "channels": channels}
    cursor.execute(sql.FIND_SERIES, columns)
    found = {(session_id, sensor, channel): series_id for session_id, sensor, channel, series_id in cursor.fetchall()}
    if len(found) < len(keys):
        cursor.execute(sql.MAKE_SERIES, columns)
        found |= {
            (session_id, sensor, channel): series_id for session_id, sensor, channel, series_id in cursor.fetchall()
        }
    return [found[key] for key in keys]


def _merge_windows(cursor: Cursor, table: pa.Table | None, series: list[int]) -> None:
    if table is None:
        return
    table = table.set_column(1, "series_id", pc.take(pa.array(series, pa.int64()), table["series"]))
    table = table.set_column(2, "start", pc.cast(table["start"], pa.timestamp("s", "UTC")))
    _copy(cursor, "partial_window", table)
    cursor.execute(sql.MERGE_WINDOWS)


def _copy_texts(cursor: Cursor, values: Values, series: list[int]) -> None:
    if not values.texts:
        return
    columns = zip(*((series[text.series], *text[1:]) for text in values.texts), strict=True)
    names = ["series_id", "time_ns", "number", "position", "value"]
    _copy(cursor, "text_reading", pa.table([pa.array(column) for column in columns], names))


def _copy_messages(cursor: Cursor, entries: list[Entry], values: Values, sessions: Ids) -> None:
    if not entries:
        return
    compress = zstandard.ZstdCompressor(level=1).compress
    rows = []
    for entry, (numbers, texts) in zip(entries, values.counts, strict=True):
        span = entry.span_us or (entry.record.broker_us, entry.record.broker_us)
        rows.append(
            {
                "session_id": sessions[entry.device, entry.session],
                "number": entry.number,
                "first_time": span[0],
                "last_time": span[1],
                "broker_time": entry.record.broker_us,
                "topic": entry.record.topic,
                "partition": entry.record.partition,
                "offset": entry.record.offset,
                "readings": len(entry.readings),
                "numbers": numbers,
                "texts": texts,
                "body": rf"\x{compress(entry.record.value or b'').hex()}",
            }
        )
    table = pa.Table.from_pylist(rows)
    for name in ("first_time", "last_time", "broker_time"):
        column = table.schema.get_field_index(name)
        table = table.set_column(column, name, pc.cast(table[name], pa.timestamp("us", "UTC")))
    _copy(cursor, "message", table)


def _remember(cursor: Cursor, entries: list[Entry], new: list[Entry], sessions: Ids) -> None:
    """Bring the sessions' and devices' figures up to date."""
    figures = {session_id: _Figures() for session_id in sorted(sessions.values())}
    for entry in entries:
        figures[sessions[entry.device, entry.session]].add_received(entry)
    for entry in new:
        figures[sessions[entry.device, entry.session]].add_stored(entry)
    if figures:
        rows = [figure.row(session_id) for session_id, figure in figures.items()]
        execute_values(cursor, sql.UPDATE_SESSIONS, rows, sql.UPDATE_SESSIONS_ROW, page_size=len(rows))
        cursor.execute(sql.UPDATE_DEVICES, {"session_ids": list(figures)})


@dataclass(slots=True)
class _Figures:
    """What a batch adds to one session's row. Times in µs since the epoch."""

    received: int = 0
    messages: int = 0
    readings: int = 0
    readings_quarantined: int = 0
    first_us: int | None = None
    last_us: int | None = None
    broker_us: int = 0

    def add_received(self, entry: Entry) -> None:
        self.received += 1
        self.broker_us = max(self.broker_us, entry.record.broker_us)

    def add_stored(self, entry: Entry) -> None:
        self.messages += 1
        self.readings += len(entry.readings)
        self.readings_quarantined += len(entry.bad_readings)
        if span := entry.span_us:
            self.first_us = min(self.first_us or span[0], span[0])
            self.last_us = max(self.last_us or span[1], span[1])

    def row(self, session_id: int) -> tuple[int | None, ...]:
        duplicates = self.received - self.messages
        counts = (self.messages, duplicates, self.readings, self.readings_quarantined)
        return session_id, *counts, self.first_us, self.last_us, self.broker_us


def _write_batch(cursor: Cursor, receipt: Receipt) -> bool:
    """Write the batch row and add it to its partition's progress; False if the row was there already."""
    cursor.execute(sql.INSERT_BATCH, receipt.row())
    if cursor.rowcount == 0:
        return False
    cursor.execute(sql.ADD_PROGRESS, receipt.row())
    return True


def _copy(cursor: Cursor, table_name: str, table: pa.Table) -> None:
    names = ", ".join(f'"{name}"' for name in table.column_names if name != "series")
    file = io.BytesIO()
    pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False))
    file.seek(0)
    cursor.copy_expert(f"COPY {table_name} ({names}) FROM STDIN (FORMAT csv)", file)
