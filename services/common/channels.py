"""How a reading becomes channels: which of its values are numbers, which are text, and which say nothing.

The stream stores by these rules and the dashboard shows stored messages by them, so both always agree.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from services.common.message import Reading, encode_json

LARGEST_NUMBER: Final = 1e100
"""Larger magnitudes are kept as text: their squares could not be summed in a double (largest 1.8e308)."""

_LOCATION_NOT_KNOWN_BELOW_0: Final = frozenset(
    ["speed", "bearing", "horizontalAccuracy", "verticalAccuracy", "speedAccuracy", "bearingAccuracy"]
)
NOT_KNOWN_BELOW_0: Final[Mapping[str, frozenset[str]]] = {
    "location": _LOCATION_NOT_KNOWN_BELOW_0,
    "battery": frozenset(["batteryLevel"]),
}
"""Channels by sensor in which the app writes a negative number for "not known"."""

_NOTHING: Final[frozenset[str]] = frozenset()


def split(reading: Reading) -> tuple[dict[str, float], dict[str, str]]:
    """The reading's numbers and texts by channel.

    Booleans are 0 or 1; null and "not known" values are absent; lists and objects are their JSON text, and so are
    numbers beyond `LARGEST_NUMBER`. The reading's own `accuracy` is a channel unless `values` has one of that name.
    """
    values = reading.values
    if reading.accuracy is not UNSET and "accuracy" not in values:
        values = {**values, "accuracy": reading.accuracy}
    not_known = NOT_KNOWN_BELOW_0.get(reading.name, _NOTHING)
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
