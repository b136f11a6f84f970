"""Where a phone's owner goes and what they do there, second by second: a walk in a park with breaks and sport."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

from services.simulator.motion import ACTIVITIES, Activity, recordings

PARK: Final = (52.5145, 13.3501)
"""Latitude and longitude of the Großer Tiergarten, Berlin: the origin of all places."""
_METRES_PER_DEGREE = 111_320.0
_RADIUS = 450.0  # metres from the origin that stay in the park
_SEGMENT_SECONDS = (20, 60)


class Pace(NamedTuple):
    """What an activity does to the walk: speed (m/s), turning (degrees per second), steps per second."""

    speed: float
    turning: float
    cadence: float


_PACES: dict[Activity, Pace] = {
    "standing": Pace(0.0, 0.0, 0.0),
    "walking": Pace(1.4, 4.0, 1.8),
    "running": Pace(3.0, 3.0, 2.7),
    "badminton": Pace(0.6, 25.0, 0.9),
}


@dataclass(frozen=True, slots=True)
class Place:
    """The state at the start of one second. `east` and `north` are metres from the park's origin."""

    activity: Activity
    recording: int
    began: bool  # the activity began with this second
    east: float
    north: float
    bearing: float  # degrees clockwise from north, [0, 360)
    speed: float
    steps: float

    @property
    def latitude(self) -> float:
        return PARK[0] + self.north / _METRES_PER_DEGREE

    @property
    def longitude(self) -> float:
        return PARK[1] + self.east / (_METRES_PER_DEGREE * math.cos(math.radians(PARK[0])))

    @property
    def height(self) -> float:
        """Metres above mean sea level: gentle hills that are the same for everybody."""
        return 34.0 + 2.5 * math.sin(self.east / 140.0) + 1.5 * math.cos(self.north / 90.0)


def walk(random: Random) -> Iterator[Place]:
    """The places of one person, one per second, without end."""
    place = Place("walking", 0, True, random.gauss(0, 120), random.gauss(0, 120), random.uniform(0, 360), 1.4, 0.0)
    while True:
        activity = random.choice([other for other in ACTIVITIES if other != place.activity])
        recording = random.randrange(len(recordings()[activity]))
        briskness = random.uniform(0.85, 1.15)
        for second in range(random.randint(*_SEGMENT_SECONDS)):
            speed = _PACES[activity].speed * briskness * random.uniform(0.95, 1.05)
            place = replace(place, activity=activity, recording=recording, began=second == 0, speed=speed)
            yield place
            place = _advance(place, random)


def _advance(place: Place, random: Random) -> Place:
    pace = _PACES[place.activity]
    angle = math.radians(place.bearing)
    return replace(
        place,
        east=place.east + place.speed * math.sin(angle),
        north=place.north + place.speed * math.cos(angle),
        bearing=(place.bearing + random.gauss(0, pace.turning) + _homeward(place, pace)) % 360,
        steps=place.steps + pace.cadence * random.uniform(0.9, 1.1),
    )


def _homeward(place: Place, pace: Pace) -> float:
    """The turn back to the park's middle for who has come too far, in degrees."""
    if math.hypot(place.east, place.north) < _RADIUS:
        return 0.0
    home = math.degrees(math.atan2(-place.east, -place.north))
    return max(-1.0, min(1.0, turn(place.bearing, home) / 30)) * 2 * pace.turning


def turn(before: float, after: float) -> float:
    """The short way from one bearing to another, in degrees, [-180, 180)."""
    return (after - before + 180) % 360 - 180
