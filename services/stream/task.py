"""One task: a partition of a micro-batch from Arrow to its receipt. Runs in Spark's Python workers.

PostgreSQL away, a broken connection, a deadlock: tried again, for nothing is lost by waiting. Whatever else stops a
transaction is the fault of some record: it is found and quarantined, so that no record stops the line.
"""

import gc
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import count
from typing import Final

import msgspec
import psycopg2
import psycopg2.errors
import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from pyspark import TaskContext
from pyspark.accumulators import Accumulator

from services.common import logs
from services.common.database import DatabaseSettings, connect
from services.common.settings import load
from services.common.telemetry import TraceChoice
from services.stream import sql
from services.stream.decode import BadRecord, Entry, Record, Rules, decode
from services.stream.hold import hold
from services.stream.receipts import BatchKey, Receipt, Steps
from services.stream.settings import RuleSettings
from services.stream.store import prepare, store
from services.stream.trace import BatchTrace, recorded

RETRY_FOR_S: Final = 120
LONGEST_PAUSE_S: Final = 2
PORTION_BYTES: Final = 16 << 20
"""Records of one transaction: decoded and added up they take fifteen times as much, in each of a worker's tasks."""
TRANSIENT: Final = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""Connection lost, server starting or stopping, out of connections or disk space, deadlock, lock timeout."""

Batches = Iterator[pa.RecordBatch]


class PartitionMissingError(psycopg2.OperationalError):
    """There was no partition for a time that is kept; it has been made, so that the next attempt finds it."""


log = logging.getLogger(__name__)
_connection: Connection | None = None


def spark_task(receipts: Accumulator[list[bytes]], traces: TraceChoice) -> Callable[[Batches], Batches]:
    """The function for `mapInArrow`: stores the records of one partition, adds to `receipts`, and yields nothing."""

    def run(batches: Batches) -> Batches:
        context = TaskContext.get()
        assert context is not None
        query_id = context.getLocalProperty("sql.streaming.queryId")
        batch_id = context.getLocalProperty("streaming.sql.batchId")
        assert query_id is not None  # Spark sets both in every micro-batch
        assert batch_id is not None
        trace = BatchTrace.of(query_id, int(batch_id), traces)
        for receipt in store_partition(query_id, int(batch_id), trace, batches):
            receipts.add([msgspec.json.encode(receipt)])
        yield from ()

    return run


def store_partition(query_id: str, batch_id: int, trace: BatchTrace, batches: Batches) -> Iterator[Receipt]:
    """Store the records of one partition of a micro-batch; yields a receipt for each transaction."""
    began_ns = time.time_ns()
    for records in portions(record for batch in batches for record in _records(batch)):
        read = time.time_ns() - began_ns
        receipt = _store(query_id, batch_id, trace, records)
        seconds = {"read": read / 1e9} | receipt.seconds
        yield msgspec.structs.replace(receipt, began_ns=began_ns, committed_ns=time.time_ns(), seconds=seconds)
        began_ns = time.time_ns()


def portions(records: Iterable[Record], limit_bytes: int = PORTION_BYTES) -> Iterator[list[Record]]:
    """All records at once, for one transaction; a backlog, or pictures, need several, to bound the memory."""
    portion: list[Record] = []
    size = 0
    for record in records:
        portion.append(record)
        size += len(record.value or b"")
        if size >= limit_bytes:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _records(batch: pa.RecordBatch) -> Iterator[Record]:
    broker_us = batch.column("timestamp").cast(pa.int64())
    names = ("topic", "partition", "offset")
    contents = [batch.column(name) for name in ("key", "value", "traceparent")]
    columns = [*(batch.column(name) for name in names), broker_us, *contents]
    return map(Record._make, zip(*(column.to_pylist() for column in columns), strict=True))


def _store(query_id: str, batch_id: int, trace: BatchTrace, records: list[Record]) -> Receipt:
    steps = Steps()
    first, last = records[0], records[-1]
    key = BatchKey(query_id, batch_id, first.topic, first.partition, first.offset, last.offset + 1)
    traceparents = recorded(record.traceparent for record in records)
    trace_id = trace.trace_id if trace.is_sampled or traceparents else None
    entries, bad_records = decode(records, _rules())
    hold("in_task")
    steps.end("decode")
    receipt = _store_despite_faults(key, entries, bad_records, trace_id)
    steps.end("store")
    return msgspec.structs.replace(
        receipt.committed(time.time_ns() // 1000),
        seconds=steps.seconds | receipt.seconds,
        newest_broker_us=max(record.broker_us for record in records),
        traceparents=traceparents,
    )


@cache
def _rules() -> Rules:
    """The rules of this worker process, from its environment."""
    settings = load(RuleSettings, os.environ)
    return Rules(settings.keep_60s_days, settings.late_after_s)


def _store_despite_faults(
    key: BatchKey, entries: list[Entry], bad_records: list[BadRecord], trace_id: str | None
) -> Receipt:
    try:
        whole = partial(store, batch=key, entries=entries, bad_records=bad_records, trace_id=trace_id)
        return _attempt(whole, keep=True)
    except Exception as error:
        log.exception("a batch cannot be stored: looking for the records at fault")
        offenders = _offenders(key, entries, error)
        good = [entry for entry in entries if entry.record.offset not in {bad.record.offset for bad in offenders}]
        rest = partial(store, batch=key, entries=good, bad_records=bad_records + offenders, trace_id=trace_id)
        return _attempt(rest, keep=True)


def _offenders(key: BatchKey, entries: list[Entry], error: Exception) -> list[BadRecord]:
    """Those of `entries`, which together raise `error`, that cannot be stored even alone: found by halving."""
    if len(entries) == 1:
        [entry] = entries
        detail = f"{type(error).__name__}: {_first_line(error)}"
        return [BadRecord(entry.record, "cannot_store", detail, entry.device, entry.session)]
    middle = len(entries) // 2
    offenders: list[BadRecord] = []
    for half in (entries[:middle], entries[middle:]):
        try:
            _attempt(partial(store, batch=key, entries=half, bad_records=[]), keep=False)
        except Exception as fault:
            offenders += _offenders(key, half, fault)
    return offenders


def _attempt(transaction: Callable[[Connection], Receipt], *, keep: bool) -> Receipt:
    """Run `transaction` and commit (or, without `keep`, roll back); again after a transient fault, for two minutes."""
    deadline = time.monotonic() + RETRY_FOR_S
    pause = 0.1
    for retries in count():
        try:
            return msgspec.structs.replace(_run(transaction, keep=keep), retries=retries)
        except TRANSIENT as error:
            if time.monotonic() + pause > deadline:
                raise
            log.warning("PostgreSQL does not store now, trying again in %.1f s: %s", pause, _first_line(error))
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
    raise AssertionError  # the loop has no end


def _run(transaction: Callable[[Connection], Receipt], *, keep: bool) -> Receipt:
    connection = _connected()
    try:
        hold("before_transaction")
        receipt = transaction(connection)
        if keep:
            hold("before_commit")
            connection.commit()
            hold("after_commit")
        else:
            connection.rollback()
    except TRANSIENT:
        _disconnect()
        raise
    except psycopg2.errors.CheckViolation as error:
        connection.rollback()
        if error.diag.constraint_name is None:  # no partition holds that time: a fault of ours, not of a record
            with connection, connection.cursor() as cursor:
                cursor.execute(sql.MAKE_PARTITIONS, (sql.DAYS_AHEAD,))
            raise PartitionMissingError(_first_line(error)) from error
        raise
    except Exception:
        connection.rollback()
        raise
    return receipt


def _connected() -> Connection:
    """The connection of this worker process: made at first use, kept from task to task."""
    global _connection  # noqa: PLW0603  # one per process is what is wanted
    if _connection is None:
        logs.configure("stream", os.environ.get("LOG_FORMAT", "json"))
        connection = connect(load(DatabaseSettings, os.environ), "stream")
        prepare(connection)
        _connection = connection
        _spare_the_collector()
    return _connection


def _spare_the_collector() -> None:
    """Spark collects garbage after every task: 25 ms over all that is imported by now, unless that is left out."""
    gc.collect()
    gc.freeze()


def _disconnect() -> None:
    global _connection  # noqa: PLW0603
    if _connection is not None:
        _connection.close()
    _connection = None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
