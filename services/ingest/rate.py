"""Rate: how fast one sender may go on, as a token bucket that is kept as a single number."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

_ROUNDING_S: Final = 1e-6


class RateLimit:
    """For each sender a bucket of `burst` messages that fills again at `rate` messages per second.

    A bucket is the moment at which it will be full (the generic cell rate algorithm, ITU-T I.371). Those of
    `most_senders` are kept; beyond that the one that was quiet for the longest time counts as full.
    """

    def __init__(
        self, rate: float, burst: float, most_senders: int = 20_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_s = 1 / rate
        self._tolerance_s = (burst - 1) / rate
        self._most_senders = most_senders
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def take(self, sender: Hashable) -> float:
        """Take one message out of the sender's bucket: 0, or in how many seconds there will be one."""
        now = self._clock()
        with self._lock:
            full_at = max(self._full_at.pop(sender, now), now)
            wait_s = full_at - now - self._tolerance_s
            allowed = wait_s < _ROUNDING_S
            self._full_at[sender] = full_at + self._interval_s if allowed else full_at
            if len(self._full_at) > self._most_senders:
                del self._full_at[next(iter(self._full_at))]
        return 0.0 if allowed else wait_s
