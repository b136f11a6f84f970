"""Whether anybody works for the driver.

A Spark master that was started anew knows nothing of the streams before it: it ends their executors and gives them no
others. Who is started again registers anew.
"""

import time
from collections.abc import Callable
from typing import Final

from pyspark.sql import SparkSession

PATIENCE_S: Final = 60


class NobodyWorksError(Exception):
    """No executor for too long. The text says for how long."""


class ExecutorWatch:
    """Looks at how many executors there are, again and again."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._clock = count, clock
        self._seen_at = clock()

    def look(self) -> None:
        """Raises `NobodyWorksError` when there has been none for `PATIENCE_S` seconds."""
        now = self._clock()
        if self._count():
            self._seen_at = now
        elif now - self._seen_at > PATIENCE_S:
            raise NobodyWorksError(f"Spark's master has given no executor for {PATIENCE_S} s: is there a worker?")


def executors_of(spark: SparkSession) -> Callable[[], int]:
    """Counts them. In local mode the driver is its own."""
    context = spark.sparkContext
    others = 0 if str(context.master).startswith("local") else 1  # the driver is listed, too
    return lambda: int(context._jsc.sc().getExecutorMemoryStatus().size()) - others
