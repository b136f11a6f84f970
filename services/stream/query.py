"""The query: one function over each partition of a micro-batch, which stores it; the receipts come to the driver.

The tasks store, so Spark has nothing to write: its sink is `noop`. Its checkpoint says where to go on and is written
in the background, about once a second: what a crash makes it read again is found in the ledger.
https://spark.apache.org/docs/latest/streaming/performance-tips.html#asynchronous-progress-tracking
"""

from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from services.common.telemetry import TraceChoice
from services.stream.gather import Gather, ReceiptsOnTheirWay
from services.stream.settings import StreamSettings
from services.stream.task import spark_task

CHECKPOINT_PERIOD_MS: Final = 1000


def start_query(records: DataFrame, settings: StreamSettings, gather: Gather, traces: TraceChoice) -> StreamingQuery:
    """Start storing `records` in PostgreSQL, from where the checkpoint says."""
    receipts = records.sparkSession.sparkContext.accumulator([], ReceiptsOnTheirWay(gather.take))
    return (
        records.mapInArrow(spark_task(receipts, traces), "nothing binary")
        .writeStream.format("noop")
        .option("checkpointLocation", str(settings.checkpoint))
        .option("asyncProgressTrackingEnabled", "true")
        .option("asyncProgressTrackingCheckpointIntervalMs", str(CHECKPOINT_PERIOD_MS))
        .trigger(processingTime=f"{settings.trigger_ms} milliseconds")
        .start()
    )
