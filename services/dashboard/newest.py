"""Where a session is: the time of its newest reading, by the phone's own clock."""

from collections import deque
from statistics import median
from typing import Final

_TOLERANCE_MS: Final = 60_000
_REMEMBERED: Final = 60
_JUDGED_BY: Final = 9


class Newest:
    """The newest believable time of a session's readings.

    A phone's clock may be wrong, but then by the same amount in message after message. So a message is believed
    when its newest reading is not over a minute further ahead of the broker's clock than those of the last nine
    messages usually are: a single reading dated ahead does not move the charts away from all others.
    """

    def __init__(self) -> None:
        self.time_ms: float | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def add(self, last_ms: float, broker_ms: float) -> None:
        """A message whose newest reading is of `last_ms` and that the broker got at `broker_ms`."""
        self._recent.append((last_ms, broker_ms))
        ahead = median(last - broker for last, broker in list(self._recent)[-_JUDGED_BY:])
        limit = max(broker for _, broker in self._recent) + max(0.0, ahead) + _TOLERANCE_MS
        if self.time_ms is None or self.time_ms > limit:
            self.time_ms = max(last for last, _ in self._recent if last <= limit)
        elif last_ms <= limit:
            self.time_ms = max(self.time_ms, last_ms)
