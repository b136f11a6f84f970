"""What became of the messages, counted: for the line that shows progress and the table at the end."""

import math
import threading
from collections import Counter
from dataclasses import dataclass, field

from services.simulator import metrics
from services.simulator.metrics import Outcome

_BUCKETS_PER_E = 50  # round trips are kept to 2 %


@dataclass
class Counts:
    """What happened in some time. Round trips are counted in buckets, so that a long run needs no more memory."""

    posts: int = 0
    messages: Counter[Outcome] = field(default_factory=Counter)
    readings: Counter[Outcome] = field(default_factory=Counter)
    round_trips: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        self.posts += other.posts
        self.messages += other.messages
        self.readings += other.readings
        self.round_trips += other.round_trips

    def round_trip(self, quantile: float) -> float:
        """Seconds that a share of `quantile` of the acknowledged posts took at most; 0 when there is none."""
        left = math.ceil(quantile * self.round_trips.total())
        for bucket, count in sorted(self.round_trips.items()):
            left -= count
            if left <= 0:
                return math.exp(bucket / _BUCKETS_PER_E)
        return 0.0


class Tally:
    """Counts from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent = Counts()
        self.total = Counts()

    def post(self, round_trip_seconds: float | None) -> None:
        """Count an attempt, with its round trip if it was acknowledged."""
        metrics.record_post(round_trip_seconds)
        with self._lock:
            self._recent.posts += 1
            if round_trip_seconds is not None:
                self._recent.round_trips[round(math.log(max(round_trip_seconds, 1e-6)) * _BUCKETS_PER_E)] += 1

    def message(self, outcome: Outcome, readings: int) -> None:
        """Count a message once, when it is known what became of it."""
        metrics.record_message(outcome, readings)
        with self._lock:
            self._recent.messages[outcome] += 1
            self._recent.readings[outcome] += readings

    def take_recent(self) -> Counts:
        """The counts since the last call; they are part of `total` from now on."""
        with self._lock:
            recent, self._recent = self._recent, Counts()
        self.total.add(recent)
        return recent


def progress_line(phones: int, recent: Counts, total: Counts, seconds: float) -> str:
    """One line about the last `seconds`."""
    messages = total.messages
    return (
        f"{phones} phones · {messages['acknowledged']:,} acknowledged, {messages['refused']:,} refused, "
        f"{messages['unanswered']:,} unanswered of {total.posts:,} posts · "
        f"{recent.messages['acknowledged'] / seconds:,.1f} messages/s, "
        f"{recent.readings['acknowledged'] / seconds:,.0f} readings/s · "
        f"round trip {recent.round_trip(0.5) * 1000:.1f} ms, p99 {recent.round_trip(0.99) * 1000:.1f} ms"
    )


def summary_table(phones: int, total: Counts, seconds: float) -> str:
    """The table at the end of a run of `seconds`."""
    acknowledged = total.messages["acknowledged"]
    again = total.posts - total.messages.total()
    rows = [
        ("phones", f"{phones:,}"),
        ("time", f"{seconds:,.1f} s"),
        *(
            (f"messages {outcome}", f"{total.messages[outcome]:,}")
            for outcome in ("acknowledged", "refused", "unanswered")
        ),
        ("posts tried again", f"{max(0, again):,}"),
        ("readings acknowledged", f"{total.readings['acknowledged']:,}"),
        ("messages/s", f"{acknowledged / seconds:,.1f}"),
        ("readings/s", f"{total.readings['acknowledged'] / seconds:,.0f}"),
        ("round trip median", f"{total.round_trip(0.5) * 1000:.1f} ms"),
        ("round trip p99", f"{total.round_trip(0.99) * 1000:.1f} ms"),
    ]
    return "\n".join(f"{name:<24}{value:>14}" for name, value in rows)
