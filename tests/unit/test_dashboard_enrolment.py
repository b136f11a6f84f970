"""What a phone is told when it is connected."""

import base64
import json

import pytest
import zstandard

from services.dashboard.enrolment import SCHEME, SENSORS, enrolment, link, qr_code, reaches_only_this_machine

TOKEN = "qRsT-_" * 5


def opened(text):
    """What the app reads in a link."""
    assert text.startswith(SCHEME)
    packed = base64.b64decode(text.removeprefix(SCHEME), validate=True)
    return json.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=10_000))


def test_link_holds_what_the_app_needs():
    """Address, header, batch period and the chosen sensors are in the link, and nothing else is switched on."""
    told = enrolment("https://sensors.example/sensor_data", TOKEN, 1000, ["Accelerometer", "Heart Rate", "no such"])
    settings = opened(link(told))
    assert settings["http"] == {
        "enabled": True,
        "url": "https://sensors.example/sensor_data?errors=phone",
        "batchPeriod": 1000,
        "authToken": f"Bearer {TOKEN}",
    }
    assert {name for name, state in settings["sensorState"].items() if state["enabled"]} == {
        "Accelerometer",
        "Heart Rate",
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://192.0.2.7:5000/sensor_data", "http://192.0.2.7:5000/sensor_data?errors=phone"),
        ("https://a.example/sensor_data?x=1", "https://a.example/sensor_data?x=1&errors=phone"),
    ],
)
def test_errors_are_asked_for_in_words(url, expected):
    """The app is to show what is wrong; a query that the address has already stays."""
    assert enrolment(url, TOKEN, 200, []).url == expected


def test_a_period_that_is_no_choice_is_the_usual_one():
    """Whatever a page sends, the app gets a period that it understands."""
    assert enrolment("https://a.example/", TOKEN, -5, []).period_ms == 200


def test_code_of_every_sensor_can_still_be_scanned():
    """With all sensors and a long address the code stays small enough for a phone's camera (version 25 of 40)."""
    told = enrolment(f"https://{'long.' * 20}example/sensor_data", TOKEN, 200, [sensor.name for sensor in SENSORS])
    assert len(link(told)) < 1000
    assert qr_code(link(told)).startswith("data:image/svg+xml")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000/sensor_data", True),
        ("http://localhost/sensor_data", True),
        ("http://[::1]:5000/sensor_data", True),
        ("http://192.168.1.5:5000/sensor_data", False),
        ("https://sensors.example/sensor_data", False),
    ],
)
def test_an_address_on_loopback_is_noticed(url, expected):
    """Nobody scans a code that no phone can use without being told."""
    assert reaches_only_this_machine(url) is expected
