"""What a phone needs to know to push here: as a code to scan, as a link, and as values to type. Pure functions.

Sensor Logger imports `sensorlogger://config/` + base64 of zstd-compressed JSON, the form in which it exports its own
settings (https://github.com/tszheichoi/awesome-sensor-logger, DEEP_LINKS.md); the fields are those of such exports.
"""

import base64
import ipaddress
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import segno
import zstandard

SCHEME: Final = "sensorlogger://config/"
_COMPRESSION_LEVEL: Final = 19
_EVERY_MS: Final = {"Location": 1000, "Barometer": 1000, "Camera": 10_000}
_FASTEST_MS: Final = 10


class SensorChoice(NamedTuple):
    """A sensor as the app names it in its settings, the words for people, and whether it is on at first."""

    name: str
    text: str
    is_usual: bool


SENSORS: Final = (
    SensorChoice("Accelerometer", "Accelerometer", True),
    SensorChoice("Gravity", "Gravity", True),
    SensorChoice("Gyroscope", "Gyroscope", True),
    SensorChoice("Magnetometer", "Magnetometer", True),
    SensorChoice("Orientation", "Orientation", True),
    SensorChoice("Barometer", "Barometer", True),
    SensorChoice("Location", "Location", True),
    SensorChoice("Battery", "Battery", True),
    SensorChoice("Compass", "Compass", False),
    SensorChoice("Pedometer", "Steps", False),
    SensorChoice("Brightness", "Brightness", False),
    SensorChoice("Network", "Network", False),
    SensorChoice("Microphone", "Loudness", False),
    SensorChoice("Camera", "Camera", False),
    SensorChoice("Heart Rate", "Heart rate (watch)", False),
    SensorChoice("Wrist Motion", "Wrist motion (watch)", False),
)
PERIODS_MS: Final = {200: "0.2 s", 500: "0.5 s", 1000: "1 s", 5000: "5 s", 30_000: "30 s"}
"""How long the app gathers readings for one message, in ms. Short is more lively, long spares the battery."""
DEFAULT_PERIOD_MS: Final = 200


class Enrolment(NamedTuple):
    """All that a phone is told. `authorization` is the whole value of the header."""

    url: str
    authorization: str
    period_ms: int
    sensors: Sequence[str]


def enrolment(ingest_url: str, token: str, period_ms: int, sensors: Sequence[str]) -> Enrolment:
    """For a phone that pushes to `ingest_url`; errors come back as sentences that the app shows."""
    place = urlsplit(ingest_url)
    query = urlencode([*parse_qsl(place.query), ("errors", "phone")])
    known = {sensor.name for sensor in SENSORS}
    chosen = [sensor for sensor in sensors if sensor in known]
    period = period_ms if period_ms in PERIODS_MS else DEFAULT_PERIOD_MS
    return Enrolment(urlunsplit(place._replace(query=query)), f"Bearer {token}", period, chosen)


def app_settings(told: Enrolment) -> dict[str, Any]:
    """The app's settings, in the names of its own exports."""
    return {
        "sensorState": {name: {"enabled": True, "speed": _EVERY_MS.get(name, _FASTEST_MS)} for name in told.sensors},
        "http": {
            "enabled": True,
            "url": told.url,
            "batchPeriod": told.period_ms,
            "authToken": told.authorization,
        },
    }


def link(told: Enrolment) -> str:
    """What the app opens: it asks before it replaces its settings by these."""
    text = json.dumps(app_settings(told), separators=(",", ":")).encode()
    packed = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(text)
    return SCHEME + base64.b64encode(packed).decode("ascii")


def qr_code(text: str) -> str:
    """A QR code as the address of an SVG picture: black on white with its quiet border, whatever the page's colours."""
    code = segno.make(text, error="l", micro=False, boost_error=False)
    return str(code.svg_data_uri(scale=4, border=4, dark="#000000", light="#ffffff"))


def reaches_only_this_machine(ingest_url: str) -> bool:
    """Whether no phone can push there: an address on loopback."""
    host = urlsplit(ingest_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
