"""What is known about the sensors of the app: titles, units, the order of cards and channels. Any other works too."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple


class Sensor(NamedTuple):
    """How a known sensor is shown. `units` names the channels whose unit is not `unit`.

    Readings of an event are single happenings: no line connects them, and one that repeats another is news too.
    """

    title: str
    unit: str = ""
    units: Mapping[str, str] = {}
    is_event: bool = False


_ROTATION: Final = {"qw": "", "qx": "", "qy": "", "qz": ""}
_PLACE: Final = {
    "latitude": "°",
    "longitude": "°",
    "speed": "m/s",
    "speedAccuracy": "m/s",
    "bearing": "°",
    "bearingAccuracy": "°",
}
_HEAD: Final = {
    "roll": "rad",
    "pitch": "rad",
    "yaw": "rad",
    **{f"rotationRate{axis}": "rad/s" for axis in "XYZ"},
    **{f"{kind}{axis}": "m/s²" for kind in ("acceleration", "gravity") for axis in "XYZ"},
}

KNOWN: Final[Mapping[str, Sensor]] = {
    "accelerometer": Sensor("Acceleration", "m/s²"),
    "gyroscope": Sensor("Gyroscope", "rad/s"),
    "orientation": Sensor("Orientation", "rad", _ROTATION),
    "gravity": Sensor("Gravity", "m/s²"),
    "magnetometer": Sensor("Magnetic field", "µT"),
    "location": Sensor("Location", "m", _PLACE),
    "locationgps": Sensor("Location by satellite", "m", _PLACE),
    "locationnetwork": Sensor("Location by network", "m", _PLACE),
    "activity": Sensor("Activity"),
    "annotation": Sensor("Annotations", units={"millisecond_press_duration": "ms"}, is_event=True),
    "battery": Sensor("Battery"),
    "pedometer": Sensor("Steps"),
    "compass": Sensor("Compass", "°"),
    "barometer": Sensor("Barometer", "hPa", {"relativeAltitude": "m"}),
    "microphone": Sensor("Sound level", "dBFS"),
    "light": Sensor("Light", "lx"),
    "brightness": Sensor("Screen brightness"),
    "heart rate": Sensor("Heart rate", "bpm"),
    "wrist motion": Sensor("Wrist motion", units=_HEAD),
    "headphone": Sensor("Headphones", units=_HEAD),
    "network": Sensor("Network", units={"strength": "%", "frequency": "MHz"}),
    "totalacceleration": Sensor("Total acceleration", "m/s²"),
    "accelerometeruncalibrated": Sensor("Acceleration, uncalibrated", "m/s²"),
    "gyroscopeuncalibrated": Sensor("Gyroscope, uncalibrated", "rad/s"),
    "magnetometeruncalibrated": Sensor("Magnetic field, uncalibrated", "µT"),
    "bluetooth": Sensor("Bluetooth", units={"rssi": "dBm", "txPowerLevel": "dBm"}),
    "bluetoothmetadata": Sensor("Bluetooth devices"),
    "camera": Sensor("Camera"),
}
_ORDER: Final = {name: place for place, name in enumerate(KNOWN)}
_FIRST: Final = ("x", "y", "z", "yaw", "pitch", "roll", "latitude", "longitude", "altitude", "speed", "bearing")
_UNITLESS: Final = frozenset(["accuracy"])


def title(sensor: str) -> str:
    """The heading of the sensor's card; an unknown sensor's own name."""
    known = KNOWN.get(sensor.lower())
    return known.title if known else sensor[:1].upper() + sensor[1:]


def unit(sensor: str, channel: str) -> str:
    """The unit of one channel; empty where there is none or it is not known."""
    known = KNOWN.get(sensor.lower())
    if known is None or (channel in _UNITLESS and channel not in known.units):
        return ""
    return known.units.get(channel, known.unit)


def is_event(sensor: str) -> bool:
    """True when the sensor's readings are happenings and not samples of something that goes on."""
    known = KNOWN.get(sensor.lower())
    return known is not None and known.is_event


def keeps_repeats(sensor: str) -> bool:
    """True when a text that repeats the one before it is news too: a happening, or one more picture."""
    return is_event(sensor) or sensor.lower() == "camera"


def by_unit(sensor: str, channels: Iterable[str]) -> list[list[str]]:
    """The channels in groups that can share one scale: those of one unit, in the order of each group's first."""
    groups: dict[str, list[str]] = {}
    for channel in channels:
        groups.setdefault(unit(sensor, channel), []).append(channel)
    return list(groups.values())


def shared_unit(sensor: str, channels: Iterable[str]) -> str:
    """The unit that all the channels have (but `accuracy`, which has none); empty when they differ."""
    units = {unit(sensor, channel) for channel in channels if channel not in _UNITLESS}
    return units.pop() if len(units) == 1 else ""


def place(sensor: str) -> int:
    """Where the sensor's card stands among the others: known sensors first, the rest behind them."""
    return _ORDER.get(sensor.lower(), len(_ORDER))


def in_order(channels: Iterable[str]) -> list[str]:
    """The channels as people expect them: x, y, z; accuracy last; others by name, numbers in them by value."""
    return sorted(channels, key=_channel_key)


def _channel_key(channel: str) -> tuple[int, int, list[tuple[int, str]]]:
    first = _FIRST.index(channel) if channel in _FIRST else len(_FIRST)
    pieces = re.findall(r"\d+|\D+", channel)
    return channel == "accuracy", first, [(int(piece) if piece.isdecimal() else -1, piece) for piece in pieces]
