"""How a reading becomes channels: which of its values are numbers, which are text, and which say nothing.

The stream stores by these rules and the dashboard shows stored messages by them, so both always agree.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from services.common.message import Reading, encode_json

LARGEST_NUMBER: Final = 1e100
"""Larger magnitudes are kept as text: their squares could not be summed in a double (largest 1.8e308)."""

TURNS: Final[Mapping[str, float]] = {
    "yaw": math.tau,
    "roll": math.tau,
    "bearing": 360.0,
    "magneticBearing": 360.0,
    "course": 360.0,
    "longitude": 360.0,
}
"""Channels that are angles, of whatever sensor, with the size of a full turn in their unit.

Their mean is the circular one, so that 359 and 1 degrees give 0. `pitch` is none of them: it lies between -pi/2 and
pi/2 and never wraps. Units: https://github.com/tszheichoi/awesome-sensor-logger/blob/main/UNITS.md
"""
COUNTERS: Final = frozenset(["steps"])
"""Channels that only grow: of several values the largest is the one to show."""

_ACCURACIES: Final = ("horizontal", "vertical", "speed", "bearing", "course")
_LOCATION: Final = frozenset(["speed", "bearing", "course", *(f"{what}Accuracy" for what in _ACCURACIES)])
NOT_KNOWN_BELOW_0: Final[Mapping[str, frozenset[str]]] = {
    "location": _LOCATION,
    "locationgps": _LOCATION,
    "locationnetwork": _LOCATION,
    "watchlocation": _LOCATION,
    "battery": frozenset(["batteryLevel"]),
}
"""Channels by sensor (in lower case, without spaces) in which the app writes a negative number for "not known"."""

_NOTHING: Final[frozenset[str]] = frozenset()


@lru_cache(maxsize=1024)
def _not_known_below_0(sensor: str) -> frozenset[str]:
    return NOT_KNOWN_BELOW_0.get(sensor.lower().replace(" ", ""), _NOTHING)


def may_be_not_known(sensor: str) -> bool:
    """Whether a number of this sensor may say "not known"."""
    return bool(_not_known_below_0(sensor))


def count_not_known(reading: Reading) -> int:
    """How many of the reading's values say "not known": `split` leaves them out."""
    channels = _not_known_below_0(reading.name)
    return sum(_is_below_0(reading.values.get(channel)) for channel in channels) if channels else 0


def _is_below_0(value: object) -> bool:
    return isinstance(value, float | int) and -LARGEST_NUMBER <= value < 0


def split(reading: Reading) -> tuple[dict[str, float], dict[str, str]]:
    """The reading's numbers and texts by channel.

    Booleans are 0 or 1; null and "not known" values are absent; lists and objects are their JSON text, and so are
    numbers beyond `LARGEST_NUMBER`. The reading's own `accuracy` is a channel unless `values` has one of that name.
    """
    values = reading.values
    if reading.accuracy is not UNSET and "accuracy" not in values:
        values = {**values, "accuracy": reading.accuracy}
    not_known = _not_known_below_0(reading.name)
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    for channel, value in values.items():
        if isinstance(value, float | int):
            if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
                texts[channel] = encode_json(value).decode()
            elif value >= 0 or channel not in not_known:
                numbers[channel] = float(value)
        elif isinstance(value, str):
            texts[channel] = value
        elif value is not None:
            texts[channel] = encode_json(value).decode()
    return numbers, texts
