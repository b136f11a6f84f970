"""The stream's metrics: each declared here, each behind a verb, so that no caller invents a name or a label."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from services.common import metrics_port
from services.stream.receipts import BOUNDS_S, Receipt, Spread

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
_REASONS: Final = frozenset(
    ["bad_json", "bad_message", "time_too_early", "time_in_future", "time_before_kept", "cannot_store"]
)


class _Spreads(Collector):
    """A histogram of durations that come already counted by `BOUNDS_S`."""

    def __init__(self, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total = 0.0
        REGISTRY.register(self)

    def add(self, spread: Spread) -> None:
        self._counts = [before + more for before, more in zip(self._counts, spread.counts, strict=True)]
        self._total += spread.total

    def collect(self) -> Iterator[HistogramMetricFamily]:
        bounds = [*(str(float(bound)) for bound in BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._meaning, buckets, self._total)


_records = Counter("stream_records", "Records by what became of them", ["outcome"])
_readings = Counter("stream_readings", "Readings by what became of them", ["outcome"])
_quarantined = Counter("stream_quarantined", "Records and readings that went to quarantine", ["reason"])
_late = Counter("stream_messages_late", "Stored messages that came long after their last reading")
_not_known = Counter("stream_values_not_known", 'Values that said "not known" and were left out')
_replayed = Counter("stream_partitions_replayed", "Partitions of micro-batches that had been stored before")
_retries = Counter("stream_store_retries", "Further attempts at a transaction after a fault of PostgreSQL")
_batch_seconds = Histogram("stream_batch_seconds", "Time of a micro-batch in its tasks", buckets=_SECONDS)
_step_seconds = Histogram("stream_step_seconds", "Time of a task by step", ["step"], buckets=_SECONDS)
_broker_to_commit = _Spreads("stream_broker_to_commit_seconds", "From a stored message's broker time to its commit")
_reading_to_commit = _Spreads(
    "stream_reading_to_commit_seconds", "From the time of a stored message's last reading to its commit"
)
_phase_seconds = Gauge("stream_spark_phase_seconds", "Time of the last micro-batch by Spark's own phases", ["phase"])
_last_commit = Gauge("stream_last_commit_timestamp_seconds", "When a micro-batch was last stored")
_lag_records = Gauge("stream_lag_records", "Records in Kafka that no batch has stored yet", ["partition"])
_lag_seconds = Gauge("stream_lag_seconds", "Age of the newest stored record while others wait; 0 while none does")
_difference = Gauge("stream_conservation_difference", "What was found less what there should be", ["sum"])
_checked = Gauge("stream_conservation_checked_timestamp_seconds", "When the sums were last compared")
_days_ahead = Gauge("stream_partitions_ahead_days", "How far ahead of now a table has partitions", ["table"])
_table_bytes = Gauge("stream_table_bytes", "Size of a table with its indexes", ["table"])
_housekeeping_failures = Counter("stream_housekeeping_failures", "Tasks beside storing that failed", ["task"])

_newest_broker_s = 0.0


def serve(port: int, password: str) -> None:
    """Tell them on `port` from a thread of this process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    metrics_port.start(port, password)


def record_batch(receipts: Sequence[Receipt]) -> None:
    """Count a micro-batch by its receipts: it took from the first one's begin to the last one's commit.

    A recorded one leaves its trace id as exemplar: a slow point on a chart leads to its trace.
    """
    began_ns = min(receipt.began_ns for receipt in receipts)
    trace_id = next((receipt.trace_id for receipt in receipts if receipt.trace_id), None)
    exemplar = {"trace_id": trace_id} if trace_id else None
    _batch_seconds.observe((max(receipt.committed_ns for receipt in receipts) - began_ns) / 1e9, exemplar)


def record_receipt(receipt: Receipt) -> None:
    """Count what a task has stored of one partition, unless it had been stored before."""
    global _newest_broker_s  # noqa: PLW0603  # like the metrics, one per process
    _newest_broker_s = max(_newest_broker_s, receipt.newest_broker_us / 1e6)
    _last_commit.set(receipt.committed_ns / 1e9)
    if receipt.replayed:
        _replayed.inc()
    else:
        _record_partition(receipt)


def record_phases(phases: Mapping[str, float]) -> None:
    """Note how long each of Spark's phases of the last micro-batch took, in ms as Spark reports it."""
    for phase, milliseconds in phases.items():
        _phase_seconds.labels(phase).set(milliseconds / 1000)


def record_progress(progress: Mapping[str, Any] | None) -> None:
    """Tell the lag from what Spark says of its newest micro-batch; None before the first."""
    lags = lag_of(progress)
    for partition, records in lags.items():
        _lag_records.labels(partition).set(records)
    is_behind = sum(lags.values()) > 0 and _newest_broker_s > 0
    _lag_seconds.set(max(0.0, time.time() - _newest_broker_s) if is_behind else 0)


def lag_of(progress: Mapping[str, Any] | None) -> dict[str, int]:
    """Records that wait in each partition, from Spark's progress: its newest offsets less those it has read."""
    sources = (progress or {}).get("sources") or []
    lags: dict[str, int] = {}
    for source in sources:
        ends, latest = _offsets(source.get("endOffset")), _offsets(source.get("latestOffset"))
        for partition, end in latest.items():
            lags[partition] = max(0, end - ends.get(partition, 0))
    return lags


def record_check(differences: Iterable[tuple[str, int]]) -> None:
    """Publish what the check found, by the short names of its sums; those of several partitions are added up."""
    totals: dict[str, int] = {}
    for name, difference in differences:
        totals[name] = totals.get(name, 0) + abs(difference)
    for name, difference in totals.items():
        _difference.labels(name).set(difference)
    _checked.set_to_current_time()


def set_days_ahead(days: Mapping[str, float]) -> None:
    """How far ahead partitions reach, by table."""
    for table, ahead in days.items():
        _days_ahead.labels(table).set(ahead)


def set_table_bytes(sizes: Mapping[str, int]) -> None:
    """How large tables are."""
    for table, size in sizes.items():
        _table_bytes.labels(table).set(size)


def record_housekeeping_failure(task: str) -> None:
    """A task of the housekeeping failed: partitions, retention, purge, check or sizes."""
    _housekeeping_failures.labels(task).inc()


def _offsets(text: Any) -> dict[str, int]:
    """{"topic": {"0": 17}} as Spark writes it, by partition."""
    offsets = json.loads(text) if isinstance(text, str) else text
    return {partition: end for partitions in (offsets or {}).values() for partition, end in partitions.items()}


def _record_partition(receipt: Receipt) -> None:
    _records.labels("stored").inc(receipt.messages)
    _records.labels("duplicate").inc(receipt.duplicates)
    _records.labels("quarantined").inc(receipt.quarantined)
    _records.labels("deleted").inc(receipt.deleted)
    _readings.labels("stored").inc(receipt.readings_stored)
    _readings.labels("duplicate").inc(receipt.readings_duplicate)
    _readings.labels("quarantined").inc(receipt.readings_quarantined)
    _readings.labels("deleted").inc(receipt.readings_deleted)
    for reason, number in receipt.reasons.items():
        _quarantined.labels(reason if reason in _REASONS else "other").inc(number)
    _late.inc(receipt.late)
    _not_known.inc(receipt.not_known)
    _retries.inc(receipt.retries)
    for name, histogram in (("broker", _broker_to_commit), ("reading", _reading_to_commit)):
        if name in receipt.spreads:
            histogram.add(receipt.spreads[name])
    for step, seconds in receipt.seconds.items():
        _step_seconds.labels(step).observe(seconds)
