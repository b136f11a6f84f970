"""Entries to PostgreSQL: one transaction per partition of a micro-batch, in which storing is exactly once.

Order of the locks: the devices of the batch first, sorted. Everything else belongs to one device, so two transactions
that meet (a retried task, a second stream) wait for each other there, and what the first one committed is a duplicate
for the second.
"""

import io
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import zstandard
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import execute_values

from services.common.channels import COUNTERS, TURNS
from services.stream import sql
from services.stream.decode import HOUR_NS, BadRecord, Entry, Record, first_of_each
from services.stream.receipts import BatchKey, Came, Receipt, Steps
from services.stream.sessions import Ids, lock_sessions, remember, without_deleted
from services.stream.tally import Tally, add_to_hours, add_to_ledger, without_stored
from services.stream.windows import RESOLUTIONS_S, Values, windows

WHOLE_RECORD: Final = -1
_MICROSECONDS: Final = pa.timestamp("us", "UTC")
KeptFrom = dict[str, int]
"""Oldest time that is kept by table, in µs since the epoch."""


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
        kept_from = begin(cursor)
        if stored := _stored_before(cursor, batch):
            return stored
        receipt = add_entries(cursor, batch, entries, bad_records, Adding(kept_from, steps))
        receipt = msgspec.structs.replace(receipt, trace_id=trace_id)
        if not write_batch(cursor, receipt):
            return _lost_race(connection, batch)
        steps.end("write")
        return msgspec.structs.replace(receipt, seconds=steps.seconds)


class Adding(NamedTuple):
    """What goes with every addition: how far back things are kept, and the watch."""

    kept_from: KeptFrom
    steps: Steps


def add_entries(
    cursor: Cursor, batch: BatchKey, entries: list[Entry], bad_records: list[BadRecord], adding: Adding
) -> Receipt:
    """Everything of a batch but its batch row."""
    sessions, candidates, deleted = lock_sessions(cursor, entries)
    new = without_stored(cursor, first_of_each(candidates), sessions)
    wanted_records = without_deleted(cursor, bad_records)
    reasons = _quarantine_records(cursor, wanted_records)
    _quarantine_readings(cursor, new)
    adding.steps.end("lock")
    values, tally = add_values(cursor, new, sessions, adding)
    add_to_ledger(cursor, new, sessions, tally)
    _copy_messages(cursor, new, values, sessions, adding.kept_from["message"])
    remember(cursor, candidates, new, values, sessions)
    came = Came(candidates, new, wanted_records, deleted, len(bad_records) - len(wanted_records))
    return Receipt.of(batch, came, reasons, sum(values.not_known))


def add_values(cursor: Cursor, entries: Sequence[Entry], sessions: Ids, adding: Adding) -> tuple[Values, Tally]:
    """Add the entries' values to windows and text readings; returns them, and how many of each hour they are."""
    values = Values(entries)
    table = windows(values) if values.number_values else None
    adding.steps.end("aggregate")
    places = _places(cursor, values, sessions)
    tally = Tally()
    _merge_windows(cursor, table, places, adding.kept_from, tally)
    _copy_texts(cursor, values, places, adding.kept_from["text_reading"], tally)
    return values, tally


def begin(cursor: Cursor) -> KeptFrom:
    """Let no partition be dropped before this transaction ends; returns what is kept now."""
    cursor.execute(sql.BEGIN)
    return dict(cursor.fetchall())


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


def _quarantine_records(cursor: Cursor, bad_records: list[BadRecord]) -> Counter[str]:
    """Keep the bad records; returns the reasons of those that were not there before."""
    rows = [
        (
            *_place(bad.record),
            WHOLE_RECORD,
            bad.reason,
            bad.detail,
            bad.device,
            bad.session,
            bad.record.key,
            bad.record.value or b"",
        )
        for bad in bad_records
    ]
    kept = execute_values(cursor, sql.QUARANTINE, rows, sql.QUARANTINE_ROW, fetch=True) if rows else []
    return Counter(reason for (reason,) in kept)


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


class Places(NamedTuple):
    """Where the values of `Values.series` go, in its order: series_id and session_id."""

    series: list[int]
    sessions: list[int]


def _places(cursor: Cursor, values: Values, sessions: Ids) -> Places:
    """Find the ids of `values.series`; missing ones are made."""
    if not values.series:
        return Places([], [])
    keys = [(sessions[device, session], sensor, channel) for device, session, sensor, channel in values.series]
    session_ids, sensors, channels = (list(column) for column in zip(*keys, strict=True))
    columns = {
        "session_ids": session_ids,
        "sensors": sensors,
        "channels": channels,
        "turns": [TURNS.get(channel) for channel in channels],
        "counters": [channel in COUNTERS for channel in channels],
    }
    cursor.execute(sql.FIND_SERIES, columns)
    found = {(session_id, sensor, channel): series_id for session_id, sensor, channel, series_id in cursor.fetchall()}
    if len(found) < len(keys):
        cursor.execute(sql.MAKE_SERIES, columns)
        found |= {
            (session_id, sensor, channel): series_id for session_id, sensor, channel, series_id in cursor.fetchall()
        }
    return Places([found[key] for key in keys], session_ids)


def _merge_windows(cursor: Cursor, table: pa.Table | None, places: Places, kept_from: KeptFrom, tally: Tally) -> None:
    if table is None:
        return
    minutes = table.filter(pc.equal(table["resolution"], 60)).select(["series", "start", "count"])
    for index, start, count in zip(*(column.to_pylist() for column in minutes.columns), strict=True):
        tally.add(places.sessions[index], start // 3600, count, 0)
    table = _kept(table, kept_from)
    table = table.set_column(1, "series_id", pc.take(pa.array(places.series, pa.int64()), table["series"]))
    table = table.set_column(2, "start", pc.cast(table["start"], pa.timestamp("s", "UTC")))
    _copy(cursor, "partial_window", table)
    cursor.execute(sql.MERGE_WINDOWS)


def _kept(table: pa.Table, kept_from: KeptFrom) -> pa.Table:
    """The windows without those that are older than their resolution is kept."""
    oldest = {resolution: kept_from[f"window_{resolution}s"] // 10**6 for resolution in RESOLUTIONS_S}
    if pc.min(table["start"]).as_py() >= max(oldest.values()):
        return table
    too_old = [
        pc.and_(pc.equal(table["resolution"], resolution), pc.less(table["start"], start_s))
        for resolution, start_s in oldest.items()
    ]
    return table.filter(pc.invert(reduce(pc.or_, too_old)))


def _copy_texts(cursor: Cursor, values: Values, places: Places, kept_from_us: int, tally: Tally) -> None:
    rows = []
    for text in values.texts:
        tally.add(places.sessions[text.series], text.time_ns // HOUR_NS, 0, 1)
        if text.time_ns >= kept_from_us * 1000:
            rows.append((places.series[text.series], *text[1:]))
    if rows:
        names = ["series_id", "time_ns", "number", "position", "value"]
        _copy(cursor, "text_reading", pa.table([pa.array(column) for column in zip(*rows, strict=True)], names))


def _copy_messages(cursor: Cursor, entries: Sequence[Entry], values: Values, sessions: Ids, kept_from_us: int) -> None:
    kept = [
        (entry, *counts)
        for entry, counts in zip(entries, values.counts, strict=True)
        if entry.record.broker_us >= kept_from_us
    ]
    if not kept:
        return
    compress = zstandard.ZstdCompressor(level=1).compress
    spans = [entry.span_us or (entry.record.broker_us, entry.record.broker_us) for entry, *_ in kept]
    table = pa.table(
        {
            "session_id": [sessions[entry.device, entry.session] for entry, *_ in kept],
            "number": [entry.number for entry, *_ in kept],
            "first_time": pa.array([first for first, _ in spans], _MICROSECONDS),
            "last_time": pa.array([last for _, last in spans], _MICROSECONDS),
            "broker_time": pa.array([entry.record.broker_us for entry, *_ in kept], _MICROSECONDS),
            "topic": [entry.record.topic for entry, *_ in kept],
            "partition": [entry.record.partition for entry, *_ in kept],
            "offset": [entry.record.offset for entry, *_ in kept],
            "readings": [len(entry.readings) for entry, *_ in kept],
            "numbers": [numbers for _, numbers, _ in kept],
            "texts": [texts for *_, texts in kept],
            "body": [rf"\x{compress(entry.record.value or b'').hex()}" for entry, *_ in kept],
        }
    )
    _copy(cursor, "message", table)
    add_to_hours(cursor, kept[0][0].record, [(entry.record.broker_us, len(entry.readings)) for entry, *_ in kept])


def write_batch(cursor: Cursor, receipt: Receipt) -> bool:
    """Write the batch row and add it to its partition's progress; False if the row was there already."""
    cursor.execute(sql.INSERT_BATCH, receipt.row())
    if cursor.rowcount == 0:
        return False
    cursor.execute(sql.ADD_PROGRESS, receipt.row())
    return True


def _copy(cursor: Cursor, table_name: str, table: pa.Table) -> None:
    names = ", ".join(f'"{name}"' for name in table.column_names if name != "series")
    file = io.BytesIO()
    whole = table.combine_chunks()  # where the first chunk is empty, pyarrow 26 writes zero bytes in its place
    pyarrow.csv.write_csv(whole, file, pyarrow.csv.WriteOptions(include_header=False))
    file.seek(0)
    cursor.copy_expert(f"COPY {table_name} ({names}) FROM STDIN (FORMAT csv)", file)
