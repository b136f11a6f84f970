"""The query: for each micro-batch, one function over each partition, then the receipts."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Final

import msgspec
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from services.common.database import DatabaseSettings, connect
from services.common.telemetry import Tracing
from services.stream import metrics, sql
from services.stream.hold import hold
from services.stream.receipts import Receipt
from services.stream.settings import StreamSettings
from services.stream.task import store_partition
from services.stream.trace import TracedBatch, traced_batch

DAYS_AHEAD: Final = 3

log = logging.getLogger(__name__)


def start_query(
    records: DataFrame, settings: StreamSettings, database: DatabaseSettings, tracing: Tracing
) -> StreamingQuery:
    """Start storing `records` in PostgreSQL, from where the checkpoint says."""
    return (
        records.writeStream.foreachBatch(_batch_function(database, tracing))
        .option("checkpointLocation", str(settings.checkpoint))
        .trigger(processingTime=f"{settings.trigger_ms} milliseconds")
        .start()
    )


def _batch_function(database: DatabaseSettings, tracing: Tracing) -> Callable[[DataFrame, int], None]:
    partitions_made_on: date | None = None

    def store_batch(records: DataFrame, batch_id: int) -> None:
        nonlocal partitions_made_on
        hold("after_offsets")
        today = datetime.now(UTC).date()
        if partitions_made_on != today:
            make_partitions(database)
            partitions_made_on = today
        started = time.perf_counter()
        with traced_batch(tracing, batch_id) as trace:
            receipts = trace.receipts = _store(records, batch_id, trace)
        metrics.record_batch(time.perf_counter() - started, receipts)
        log.debug("batch stored", extra={"fields": {"batch_id": batch_id, "records": sum(r.records for r in receipts)}})

    return store_batch


def _store(records: DataFrame, batch_id: int, trace: TracedBatch) -> list[Receipt]:
    query_id = records.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
    assert query_id is not None  # Spark sets it in every micro-batch
    rows = records.mapInArrow(store_partition(query_id, batch_id, trace.for_tasks), "receipt binary").collect()
    return [msgspec.json.decode(row.receipt, type=Receipt) for row in rows]


def make_partitions(database: DatabaseSettings) -> None:
    """Make the tables' partitions of the next days, so that no reading of now lies in a default one."""
    with closing(connect(database, "stream")) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql.MAKE_PARTITIONS, (DAYS_AHEAD,))
