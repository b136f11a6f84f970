"""Receipts: what one task did with one partition of a micro-batch. They travel from the tasks to the driver."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.stream.decode import BadRecord, Entry

BOUNDS_S: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3600, 86400)
"""Upper bounds of durations until a commit: fine where people wait, coarse where messages are late."""


class BatchKey(NamedTuple):
    """One partition of a micro-batch: the offsets [offset_from, offset_until) that a task has read."""

    query_id: str
    batch_id: int
    topic: str
    partition: int
    offset_from: int
    offset_until: int


class Steps:
    """How long each of the steps takes that follow one another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, step: str) -> None:
        """The step ends now, and the next one begins."""
        now = time.perf_counter()
        self.seconds[step] = now - self._since
        self._since = now


class Came(NamedTuple):
    """What a batch brought, sorted out: all `entries` that may be stored, of them the `new` ones, the `bad_records`;
    and what came before its session or device was deleted: `deleted` entries and `deleted_records` bad records."""

    entries: Sequence[Entry]
    new: Sequence[Entry]
    bad_records: Sequence[BadRecord]
    deleted: Sequence[Entry]
    deleted_records: int


class Spread(msgspec.Struct):
    """How durations in s are spread: how many lie up to each bound of `BOUNDS_S` and beyond the last, and their sum."""

    counts: list[int]
    total: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Spread":
        """Negative ones, which clocks that disagree make, count as none."""
        counts, total = [0] * (len(BOUNDS_S) + 1), 0.0
        for duration in seconds:
            counts[bisect_left(BOUNDS_S, duration)] += 1
            total += max(0.0, duration)
        return cls(counts, total)


class Receipt(msgspec.Struct, frozen=True):
    """Counts of one partition of a micro-batch. `duplicates`, `quarantined` and `deleted` count records, once each.

    `deleted` came before its session or device was deleted, and is not stored again. `late` counts stored messages,
    `not_known` values that were left out.

    `replayed` tells that an earlier attempt had stored the same offsets; the counts are then that attempt's.
    `seconds` holds the duration of each step, from `began_ns` to `committed_ns` (both in ns since the epoch);
    `newest_broker_us` is the broker time of the newest record. `trace_id` stands in the batch row; `traceparents` are
    the trace contexts of some of the messages. `times` holds of each stored message its broker time and that of its
    last reading, in µs, from which the task makes `spreads`: how long both took until the commit. `retries` counts
    further attempts after a fault, `reasons` what was quarantined.
    """

    query_id: str
    batch_id: int
    topic: str
    partition: int
    offset_from: int
    offset_until: int
    records: int
    messages: int
    duplicates: int
    quarantined: int
    readings: int
    readings_stored: int
    readings_duplicate: int
    readings_quarantined: int
    deleted: int = 0
    readings_deleted: int = 0
    late: int = 0
    not_known: int = 0
    replayed: bool = False
    seconds: dict[str, float] = {}
    began_ns: int = 0
    committed_ns: int = 0
    newest_broker_us: int = 0
    trace_id: str | None = None
    traceparents: list[str] = []
    times: list[tuple[int, int | None]] = []
    spreads: dict[str, Spread] = {}
    retries: int = 0
    reasons: dict[str, int] = {}

    @classmethod
    def of(cls, batch: BatchKey, came: "Came", reasons: Counter[str], not_known: int) -> "Receipt":
        """Count what came; `reasons` are those of bad records that were not in quarantine yet."""
        bad_records, quarantined = len(came.bad_records), reasons.total()
        readings_new, readings_deleted = _readings(came.new), _readings(came.deleted)
        readings = _readings(came.entries)
        readings_quarantined = sum(len(entry.bad_readings) for entry in came.new)
        return cls(
            *batch,
            records=len(came.entries) + len(came.deleted) + bad_records + came.deleted_records,
            messages=len(came.new),
            duplicates=len(came.entries) - len(came.new) + bad_records - quarantined,
            quarantined=quarantined,
            readings=readings + readings_deleted,
            readings_stored=readings_new - readings_quarantined,
            readings_duplicate=readings - readings_new,
            readings_quarantined=readings_quarantined,
            deleted=len(came.deleted) + came.deleted_records,
            readings_deleted=readings_deleted,
            late=sum(entry.is_late for entry in came.new),
            not_known=not_known,
            times=[(entry.record.broker_us, entry.span_us[1] if entry.span_us else None) for entry in came.new],
            reasons=dict(reasons + Counter(bad.reason for entry in came.new for bad in entry.bad_readings)),
        )

    def committed(self, now_us: int) -> "Receipt":
        """The receipt once the transaction is committed at `now_us`: `times` become `spreads`."""
        spreads = {
            "broker": Spread.of((now_us - broker_us) / 1e6 for broker_us, _ in self.times),
            "reading": Spread.of((now_us - last_us) / 1e6 for _, last_us in self.times if last_us is not None),
        }
        return msgspec.structs.replace(self, times=[], spreads=spreads)

    @classmethod
    def of_row(cls, batch: BatchKey, row: Sequence[int]) -> "Receipt":
        """The receipt of an earlier attempt, from the counts of its batch row."""
        counts: dict[str, Any] = dict(zip(cls.__struct_fields__[len(batch) :], row, strict=False))
        return cls(*batch, **counts, replayed=True)

    def row(self) -> dict[str, Any]:
        """The counts by the names of the columns of `batch`."""
        return msgspec.structs.asdict(self)


def _readings(entries: Iterable[Entry]) -> int:
    return sum(entry.payload_length for entry in entries)
