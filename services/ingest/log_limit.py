"""Logs at a limited rate: what a broker or a stranger can repeat at will must not fill a disk."""

import logging
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger("services.ingest")


class LimitedLog:
    """Logs the first line of each key at once, then one per `period_s` with the number of those left out."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def write(self, level: int, key: str, text: str, **fields: Any) -> None:
        """Log `text`, unless a line with this `key` came less than a period ago; keys are to be from a bounded set."""
        now = self._clock()
        if now < self._next.get(key, 0):
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        self._next[key] = now + self._period_s
        if left_out := self._left_out.pop(key, 0):
            fields["left_out"] = left_out
        log.log(level, "%s", text, extra={"fields": fields})
