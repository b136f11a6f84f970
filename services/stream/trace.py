"""The trace of a micro-batch: made on the driver from the tasks' receipts, linked to the sampled messages it holds.

Tasks measure and report; only the driver exports. Whether a batch is recorded is known at its end: when the sampler
wants it, when it holds a message whose own trace is recorded, or when it failed.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from services.common.telemetry import Attributes, Span, SpanKind, TraceChoice, Tracing
from services.stream.receipts import Receipt

MOST_LINKS: Final = 32
"""Of each partition of a micro-batch."""
_BATCH: Final = "stream batch"
_STORE: Final = "store batch"
_PARTS_OF_STORING: Final = ("lock", "aggregate", "write")
_SAMPLED: Final = 1


class BatchTrace(NamedTuple):
    """The trace of a micro-batch as its tasks know it: its id, and whether it is recorded in any case.

    Driver and tasks make the same one of the same batch, so that neither has to tell the other.
    """

    trace_id: str | None
    is_sampled: bool

    @classmethod
    def of(cls, query_id: str, batch_id: int, traces: TraceChoice) -> "BatchTrace":
        """The trace of that batch; none where nothing is traced."""
        if not traces.is_on:
            return cls(None, False)
        trace_id = blake2b(f"{query_id} {batch_id}".encode(), digest_size=16).hexdigest()
        return cls(trace_id, traces.wants(_BATCH, trace_id))


def recorded(traceparents: Iterable[bytes | None]) -> list[str]:
    """Those trace contexts that are recorded, as many as a batch may link to of one partition."""
    return list(islice((each.decode() for each in traceparents if each and _is_sampled(each)), MOST_LINKS))


def _is_sampled(traceparent: bytes) -> bool:
    try:
        return traceparent.isascii() and bool(int(traceparent[-2:], 16) & _SAMPLED)
    except ValueError:
        return False


def trace_batch(tracing: Tracing, receipts: Sequence[Receipt]) -> None:
    """Trace the micro-batch that the receipts are of, after the fact."""
    query_id, batch_id, *_ = msgspec.structs.astuple(receipts[0])
    trace = BatchTrace.of(query_id, batch_id, tracing.choice)
    if trace.trace_id is None or not (trace.is_sampled or any(receipt.traceparents for receipt in receipts)):
        return
    began_ns = min(receipt.began_ns for receipt in receipts)
    span = tracing.begin_known(_BATCH, SpanKind.CONSUMER, trace.trace_id, began_ns)
    for receipt in receipts:
        span.link(receipt.traceparents)
        _add_partition(span, receipt)
    ended_ns = max(receipt.committed_ns for receipt in receipts)
    span.end({"batch.id": batch_id, **_sums(receipts)}, end_ns=ended_ns)


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


def _sums(receipts: Sequence[Receipt]) -> dict[str, int]:
    names = ("records", "messages", "duplicates", "quarantined", "readings")
    return {f"batch.{name}": sum(getattr(receipt, name) for receipt in receipts) for name in names}
