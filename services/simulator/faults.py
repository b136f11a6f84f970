"""What goes wrong on the way from a phone: messages doubled, swapped, lost or late, and clocks that are wrong.

Pure: a stream of messages becomes the stream of those sent, in the order of sending; chance comes from the caller.
"""

import heapq
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from msgspec.structs import replace

from services.common.message import Message
from services.simulator.phone import Due
from services.simulator.sensors import SECOND_NS, app_time

ABSURD_TIMES: Final = (123_456_789, 4_102_444_800 * SECOND_NS)
"""1970, from a clock that was never set, and 2100."""
_LARGEST_OFFSET_SECONDS = 6 * 3600
_DUPLICATE_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often things go wrong: each a chance from 0 to 1, per message unless said otherwise."""

    duplicates: float = 0.0
    reordering: float = 0.0
    gaps: float = 0.0
    late: float = 0.0
    late_by: float = 60.0  # seconds
    wrong_clocks: float = 0.0  # a reading dated 1970 or 2100; also the chance per phone that its clock is off


def suffer(messages: Iterable[Due], faults: Faults, random: Random) -> Iterator[Due]:
    """The messages as they are sent, each when it is due; what is held back at the end is sent then."""
    held: list[tuple[int, int, Message]] = []
    order, now = count(), 0
    offset = _clock_offset(faults, random)
    for due in messages:
        now, before = due.time, now
        yield from _release(held, now)
        message = _with_wrong_clock(due.message, offset, faults, random)
        for delay in _delays(now - before if before else 0, faults, random):
            heapq.heappush(held, (now + delay, next(order), message))
    for due in _release(held, sys.maxsize):
        yield Due(min(due.time, now), due.message)


def shifted(message: Message, offset: int) -> Message:
    """The message with `offset` ns added to the time of every reading."""
    return replace(
        message, payload=[replace(reading, time=app_time(reading.time + offset)) for reading in message.payload]
    )


def _release(held: list[tuple[int, int, Message]], now: int) -> Iterator[Due]:
    while held and held[0][0] <= now:
        time, _, message = heapq.heappop(held)
        yield Due(time, message)


def _delays(period: int, faults: Faults, random: Random) -> list[int]:
    """How long each sending of a message is held back, in ns: none for a gap, two for a duplicate."""
    if random.random() < faults.gaps:
        return []
    first = _delay(period, faults, random)
    if random.random() < faults.duplicates:
        return [first, first + round(random.uniform(0, _DUPLICATE_SECONDS) * SECOND_NS)]
    return [first]


def _delay(period: int, faults: Faults, random: Random) -> int:
    if random.random() < faults.late:
        return round(faults.late_by * SECOND_NS)
    if random.random() < faults.reordering:
        return period * 3 // 2  # after the next message, before the one that follows it
    return 0


def _clock_offset(faults: Faults, random: Random) -> int:
    if random.random() >= faults.wrong_clocks:
        return 0
    return random.randint(-_LARGEST_OFFSET_SECONDS, _LARGEST_OFFSET_SECONDS) * SECOND_NS


def _with_wrong_clock(message: Message, offset: int, faults: Faults, random: Random) -> Message:
    if offset:
        message = shifted(message, offset)
    if random.random() < faults.wrong_clocks:
        payload = list(message.payload)
        position = random.randrange(len(payload))
        payload[position] = replace(payload[position], time=random.choice(ABSURD_TIMES))
        message = replace(message, payload=payload)
    return message
