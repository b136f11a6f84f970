"""The stream's metrics: each declared here, each behind a verb, so that no caller invents a name or a label."""

from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from services.stream.receipts import Receipt

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)

_records = Counter("stream_records", "Records by what became of them", ["outcome"])
_readings = Counter("stream_readings", "Readings by what became of them", ["outcome"])
_replayed = Counter("stream_partitions_replayed", "Partitions of micro-batches that had been stored before")
_batch_seconds = Histogram("stream_batch_seconds", "Time of a micro-batch in its tasks", buckets=_SECONDS)
_step_seconds = Histogram("stream_step_seconds", "Time of a task by step", ["step"], buckets=_SECONDS)
_freshness = Histogram(
    "stream_broker_to_commit_seconds", "From the newest record's broker time to its commit", buckets=_SECONDS
)
_phase_seconds = Gauge("stream_spark_phase_seconds", "Time of the last micro-batch by Spark's own phases", ["phase"])
_last_commit = Gauge("stream_last_commit_timestamp_seconds", "When a micro-batch was last stored")


def serve(port: int) -> None:
    """Answer `/metrics` on `port` from a thread of this process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    start_http_server(port)


def record_batch(receipts: Sequence[Receipt]) -> None:
    """Count a micro-batch by its receipts: it took from the first one's begin to the last one's commit."""
    began_ns = min(receipt.began_ns for receipt in receipts)
    _batch_seconds.observe((max(receipt.committed_ns for receipt in receipts) - began_ns) / 1e9)


def record_receipt(receipt: Receipt) -> None:
    """Count what a task has stored of one partition, unless it had been stored before."""
    _last_commit.set(receipt.committed_ns / 1e9)
    if receipt.replayed:
        _replayed.inc()
    else:
        _record_partition(receipt)


def record_phases(phases: Mapping[str, float]) -> None:
    """Note how long each of Spark's phases of the last micro-batch took, in ms as Spark reports it."""
    for phase, milliseconds in phases.items():
        _phase_seconds.labels(phase).set(milliseconds / 1000)


def _record_partition(receipt: Receipt) -> None:
    _records.labels("stored").inc(receipt.messages)
    _records.labels("duplicate").inc(receipt.duplicates)
    _records.labels("quarantined").inc(receipt.quarantined)
    _readings.labels("stored").inc(receipt.readings_stored)
    _readings.labels("duplicate").inc(receipt.readings_duplicate)
    _readings.labels("quarantined").inc(receipt.readings_quarantined)
    _freshness.observe(max(0.0, receipt.committed_ns / 1e9 - receipt.newest_broker_us / 1e6))
    for step, seconds in receipt.seconds.items():
        _step_seconds.labels(step).observe(seconds)
