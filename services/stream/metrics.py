"""The stream's metrics: each declared here, each behind a verb, so that no caller invents a name or a label."""

import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from services.stream.receipts import Receipt

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)

_records = Counter("stream_records", "Records by what became of them", ["outcome"])
_readings = Counter("stream_readings", "Readings by what became of them", ["outcome"])
_replayed = Counter("stream_partitions_replayed", "Partitions of micro-batches that had been stored before")
_batch_seconds = Histogram("stream_batch_seconds", "Time of a micro-batch from plan to receipts", buckets=_SECONDS)
_step_seconds = Histogram("stream_step_seconds", "Time of a task by step", ["step"], buckets=_SECONDS)
_freshness = Histogram(
    "stream_broker_to_commit_seconds", "From the newest record's broker time to its commit", buckets=_SECONDS
)
_last_commit = Gauge("stream_last_commit_timestamp_seconds", "When a micro-batch was last stored")


def serve(port: int) -> None:
    """Answer `/metrics` on `port` from a thread of this process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    start_http_server(port)


def record_batch(seconds: float, receipts: Iterable[Receipt]) -> None:
    """Count a micro-batch whose partitions have all been stored, once per stored partition."""
    _batch_seconds.observe(seconds)
    _last_commit.set_to_current_time()
    for receipt in receipts:
        if receipt.replayed:
            _replayed.inc()
        else:
            _record_partition(receipt)


def _record_partition(receipt: Receipt) -> None:
    _records.labels("stored").inc(receipt.messages)
    _records.labels("duplicate").inc(receipt.duplicates)
    _records.labels("quarantined").inc(receipt.quarantined)
    _readings.labels("stored").inc(receipt.readings_stored)
    _readings.labels("duplicate").inc(receipt.readings_duplicate)
    _readings.labels("quarantined").inc(receipt.readings_quarantined)
    _freshness.observe(max(0.0, time.time() - receipt.newest_broker_us / 1e6))
    for step, seconds in receipt.seconds.items():
        _step_seconds.labels(step).observe(seconds)
