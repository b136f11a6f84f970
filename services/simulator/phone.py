"""A phone: its readings second by second, and the messages that the app makes of them."""

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from random import Random
from typing import NamedTuple

from services.common.message import Message, Reading
from services.simulator.attitude import facing, mix, multiply
from services.simulator.motion import Motion, loop
from services.simulator.sensors import SECOND_NS, Moment, make_traits, motion_readings, slow_readings
from services.simulator.walk import Place, turn, walk

_BLEND_SECONDS = 0.5
"""How long one activity's motion takes to become the next one's."""


class Due(NamedTuple):
    """A message and when it is to be sent, in ns since the Unix epoch."""

    time: int
    message: Message


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How every phone of a fleet records. `rate` is in Hz, `batch_period` in seconds."""

    rate: float = 100.0
    batch_period: float = 0.5
    restarts: float = 0.0  # chance per message that a new session follows it
    motion_only: bool = False
    total_acceleration: bool = False


@dataclass
class _Session:
    start: int
    identity: str
    messages: int = 0


class Phone:
    """Phone `number` of the fleet that `seed` makes. The same arguments make the same messages."""

    def __init__(self, seed: int, number: int, start: int, recording: Recording) -> None:
        self.device = str(uuid.UUID(int=Random(f"device {seed} {number}").getrandbits(128), version=4))
        self._random = Random(f"phone {seed} {number}")
        self._start = start
        self._recording = recording
        self._traits = make_traits(self._random, number, recording.total_acceleration)
        self._session = self._new_session(start)

    def messages(self) -> Iterator[Due]:
        """One message per batch period without end, due when the period is over."""
        period = round(self._recording.batch_period * SECOND_NS)
        end, payload = self._start + period, list[Reading]()
        for reading in self._readings():
            while reading.time >= end:
                if payload:
                    yield Due(end, self._message(payload))
                    self._restart_by_chance(end)
                end, payload = end + period, []
            payload.append(reading)

    def _message(self, payload: list[Reading]) -> Message:
        session = self._session
        session.messages += 1
        return Message(self.device, session.identity, payload, session.messages - 1)

    def _restart_by_chance(self, now: int) -> None:
        if self._random.random() < self._recording.restarts:
            self._session = self._new_session(now)

    def _new_session(self, start: int) -> _Session:
        """Named after its start too: the next run with this seed is not taken for the same session."""
        return _Session(start, str(uuid.uuid5(uuid.UUID(self.device), str(start))))

    def _readings(self) -> Iterator[Reading]:
        """All readings in the order of their times."""
        last: list[Motion] | None = None
        for second, (place, following) in enumerate(pairwise(walk(self._random))):
            motions = loop(place.activity, place.recording, self._recording.rate)
            readings = [
                reading
                for time, motion, bearing in self._motion(second, place, following, motions, last)
                for reading in motion_readings(motion, multiply(facing(bearing), self._traits.pose), self._traits, time)
            ]
            if not self._recording.motion_only:
                readings += self._slow(second, place)
            readings.sort(key=attrgetter("time"))
            yield from readings
            last = motions

    def _motion(
        self, second: int, place: Place, following: Place, motions: list[Motion], last: list[Motion] | None
    ) -> Iterator[tuple[int, Motion, float]]:
        """Time, motion and bearing of each sample of a second; a new activity fades in from the `last` one."""
        rate = self._recording.rate
        turning = turn(place.bearing, following.bearing)
        for index in range(math.ceil(second * rate), math.ceil((second + 1) * rate)):
            share = index / rate - second
            motion = motions[index % len(motions)]
            if place.began and last and share < _BLEND_SECONDS:
                motion = _blend(last[index % len(last)], motion, share / _BLEND_SECONDS)
            yield self._start + round(index * SECOND_NS / rate), motion, place.bearing + turning * share

    def _slow(self, second: int, place: Place) -> Iterator[Reading]:
        start = self._start + second * SECOND_NS
        moment = Moment(second, max(0, start - self._session.start) // SECOND_NS, place, self._traits)
        return slow_readings(moment, start, self._random)


def _blend(a: Motion, b: Motion, share: float) -> Motion:
    ax, ay, az = (p + (q - p) * share for p, q in zip(a.acceleration, b.acceleration, strict=True))
    gx, gy, gz = (p + (q - p) * share for p, q in zip(a.rotation, b.rotation, strict=True))
    return Motion((ax, ay, az), (gx, gy, gz), mix(a.turn, b.turn, share))
