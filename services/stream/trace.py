"""The trace of a micro-batch: made on the driver from the tasks' receipts, linked to the sampled messages it holds.

Tasks measure and report; only the driver exports. Whether a batch is recorded is known at its end: when the sampler
wants it, when it holds a message whose own trace is recorded, or when it failed.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from services.common.telemetry import Attributes, Span, SpanKind, Tracing
from services.stream.receipts import Receipt

MOST_LINKS: Final = 32
"""Of each partition of a micro-batch."""
_BATCH: Final = "stream batch"
_STORE: Final = "store batch"
_PARTS_OF_STORING: Final = ("lock", "aggregate", "write")
_SAMPLED: Final = 1


class BatchTrace(NamedTuple):
    """What the tasks need to know to write the batch row: the trace, and whether it is recorded in any case."""

    trace_id: str | None
    is_sampled: bool


def recorded(traceparents: Iterable[bytes | None]) -> list[str]:
    """Those trace contexts that are recorded, as many as a batch may link to of one partition."""
    return list(islice((each.decode() for each in traceparents if each and _is_sampled(each)), MOST_LINKS))


def _is_sampled(traceparent: bytes) -> bool:
    try:
        return traceparent.isascii() and bool(int(traceparent[-2:], 16) & _SAMPLED)
    except ValueError:
        return False


class TracedBatch:
    """A micro-batch that is being stored; `receipts` are to be put in when they are there."""

    def __init__(self, tracing: Tracing) -> None:
        self.span = tracing.begin(_BATCH, SpanKind.CONSUMER, always=True)
        self.for_tasks: Final = BatchTrace(self.span.trace_id, tracing.samples(_BATCH))
        self.receipts: list[Receipt] = []

    @property
    def is_recorded(self) -> bool:
        return self.for_tasks.is_sampled or any(receipt.traceparents for receipt in self.receipts)


@contextmanager
def traced_batch(tracing: Tracing, batch_id: int) -> Iterator[TracedBatch]:
    """Trace what happens within; log lines bear the trace id."""
    trace = TracedBatch(tracing)
    try:
        with trace.span.active():
            yield trace
    except Exception as error:
        trace.span.end({"batch.id": batch_id}, error=type(error).__name__)
        raise
    if trace.is_recorded:
        for receipt in trace.receipts:
            trace.span.link(receipt.traceparents)
            _add_partition(trace.span, receipt)
        trace.span.end({"batch.id": batch_id, **_sums(trace.receipts)})


def _add_partition(batch: Span, receipt: Receipt) -> None:
    """The steps of one task, which followed one another."""
    where: Attributes = {
        "messaging.destination.partition.id": str(receipt.partition),
        "batch.offset_from": receipt.offset_from,
        "batch.offset_until": receipt.offset_until,
    }
    at = receipt.began_ns
    for step in ("read", "decode"):
        at = _add(batch, step, SpanKind.INTERNAL, at, receipt.seconds.get(step, 0))
    storing = batch.child(_STORE, SpanKind.CLIENT, at)
    part_at = at
    for step in _PARTS_OF_STORING:
        if step in receipt.seconds:
            part_at = _add(storing, step, SpanKind.INTERNAL, part_at, receipt.seconds[step])
    attributes: Attributes = {
        "db.system.name": "postgresql",
        "batch.replayed": receipt.replayed,
        **where,
        **_sums([receipt]),
    }
    storing.end(attributes, end_ns=_after(at, receipt.seconds.get("store", 0)))


def _add(parent: Span, name: str, kind: SpanKind, began_ns: int, seconds: float) -> int:
    ended_ns = _after(began_ns, seconds)
    parent.child(name, kind, began_ns).end(end_ns=ended_ns)
    return ended_ns


def _after(began_ns: int, seconds: float) -> int:
    return began_ns + round(seconds * 1e9)


def _sums(receipts: list[Receipt]) -> dict[str, int]:
    names = ("records", "messages", "duplicates", "quarantined", "readings")
    return {f"batch.{name}": sum(getattr(receipt, name) for receipt in receipts) for name in names}
