"""Receipts from the tasks, gathered on the driver: each becomes metrics at once, those of one micro-batch a trace.

They travel with Spark's own task results, as an accumulator: a receipt comes once for each task that Spark counts as
done, and before the micro-batch is.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from pyspark.accumulators import AccumulatorParam

from services.common.telemetry import Tracing
from services.stream import metrics
from services.stream.receipts import Receipt
from services.stream.trace import trace_batch

WHOLE_AFTER_S: Final = 2.0

log = logging.getLogger(__name__)


class ReceiptsOnTheirWay(AccumulatorParam[list[bytes]]):
    """In a task a list that grows; on the driver every receipt is handed to `take` as it comes, and nothing is kept."""

    def __init__(self, take: Callable[[Receipt], None] | None) -> None:
        self._take = take

    def __reduce__(self) -> tuple[Any, ...]:
        return ReceiptsOnTheirWay, (None,)  # what the tasks get

    def zero(self, value: list[bytes]) -> list[bytes]:  # noqa: ARG002  # Spark's signature
        """The value that a task begins with."""
        return []

    def addInPlace(self, value1: list[bytes], value2: list[bytes]) -> list[bytes]:  # noqa: N802  # Spark's name
        """Add the receipts `value2`. Spark waits for the driver's answer, so it must neither fail nor take long."""
        if self._take is None:
            return value1 + value2
        for receipt in value2:
            try:
                self._take(msgspec.json.decode(receipt, type=Receipt))
            except Exception:
                log.exception("a receipt is left out of metrics and traces")
        return value1


class Gather:
    """Takes receipts; those of one micro-batch belong together until one of the next comes, or none for a while."""

    def __init__(self, tracing: Tracing, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracing = tracing
        self._clock = clock
        self._lock = threading.Lock()
        self._batch: list[Receipt] = []
        self._newest = 0.0

    def take(self, receipt: Receipt) -> None:
        """A task has stored what the receipt says."""
        metrics.record_receipt(receipt)
        with self._lock:
            if self._batch and self._batch[0].batch_id != receipt.batch_id:
                self._finish()
            self._batch.append(receipt)
            self._newest = self._clock()

    def tick(self) -> None:
        """To be called about every second: the last micro-batch before a silence is whole after a while too."""
        with self._lock:
            if self._batch and self._clock() - self._newest > WHOLE_AFTER_S:
                self._finish()

    def _finish(self) -> None:
        batch, self._batch = self._batch, []
        metrics.record_batch(batch)
        trace_batch(self._tracing, batch)
