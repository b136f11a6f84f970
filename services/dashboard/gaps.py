"""Where messages are missing: holes in the numbers that the app counts its messages with. Pure functions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from services.dashboard.queries.history import HourRange, NumberedSpan

HOUR_MS: Final = 3_600_000


class Gap(NamedTuple):
    """`missing` messages, whose readings would lie within [from_ms, until_ms]; the first and last of their numbers."""

    from_ms: float
    until_ms: float
    missing: int
    first: int
    last: int


def gaps_between(messages: Iterable[NumberedSpan]) -> Iterator[Gap]:
    """The holes between messages that come in order of time, each from the end of the one before it to the next.

    No more than an hour of messages is held.

    The app may begin to count anew; it does so at most once in the hour of a message's first reading, which is part of
    the message's identity. So the numbers are looked at hour by hour, and across an hour's end where they go on.
    """
    before: NumberedSpan | None = None
    for _, group in groupby(messages, key=_hour):
        numbers = sorted(group)
        chain = [before, *numbers] if before is not None and numbers[0].number > before.number else numbers
        for a, b in pairwise(chain):
            if b.number - a.number > 1:
                yield Gap(a.last_ms, max(a.last_ms, b.first_ms), b.number - a.number - 1, a.number + 1, b.number - 1)
        before = numbers[-1]


def gaps_by_hour(ranges: Sequence[HourRange], first_ms: float, last_ms: float) -> list[Gap]:
    """The holes of each hour together, within [first_ms, last_ms]: what is known of messages no longer kept."""
    found: list[Gap] = []
    before: int | None = None
    for hour, group in groupby(ranges, key=lambda each: each.hour):
        parts = list(group)
        start = before if before is not None and parts[0].lower >= before else parts[0].lower
        missing = parts[-1].upper - start - sum(part.upper - part.lower for part in parts)
        if missing > 0:
            from_ms, until_ms = max(first_ms, hour * HOUR_MS), min(last_ms, (hour + 1) * HOUR_MS)
            found.append(Gap(from_ms, max(from_ms, until_ms), missing, start, parts[-1].upper - 1))
        before = parts[-1].upper
    return found


def _hour(message: NumberedSpan) -> int:
    return int(message.first_ms // HOUR_MS)
