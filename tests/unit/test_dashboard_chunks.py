"""Stored messages to points and texts."""

import json

import pytest
import zstandard

from services.dashboard.chunks import (
    LONGEST_TEXT,
    Columns,
    TextChange,
    chunk_of,
    latest_values,
    merged_points,
    rate_hz,
    shortened,
)
from services.dashboard.queries import MessageRow

AT_NS = 1_764_000_000_000_000_000
AT_MS = AT_NS / 1e6


def row(payload, first_ns=AT_NS, last_ns=AT_NS + 10**9, readings=None):
    body = json.dumps({"messageId": 1, "sessionId": "s", "deviceId": "d", "payload": payload}).encode()
    count = len(payload) if readings is None else readings
    return MessageRow(
        0, 7, first_ns // 1000, last_ns // 1000, last_ns // 1000, count, memoryview(zstandard.compress(body))
    )


def reading(name, after_ms=0, **values):
    return {"name": name, "time": AT_NS + after_ms * 10**6, "values": values}


def test_readings_become_columns_per_sensor():
    """Each sensor's readings are columns in their order, and a channel that one lacks is None there."""
    chunk = chunk_of(row([reading("a", x=1.5000000001, y=2), reading("b", z=3), reading("a", 10, x=-1.5)]))
    assert chunk.points == {
        "a": Columns([AT_MS, AT_MS + 10], {"x": [1.5, -1.5], "y": [2, None]}),
        "b": Columns([AT_MS], {"z": [3]}),
    }
    assert chunk.cursor == (0, 7)


def test_texts_are_kept_apart_from_numbers():
    """A text value is a change at its time, and does not disturb the numbers beside it."""
    chunk = chunk_of(row([reading("battery", batteryLevel=0.5, batteryState="full")]))
    assert chunk.texts == {"battery": [TextChange(AT_MS, "batteryState", "full")]}
    assert chunk.points["battery"].channels == {"batteryLevel": [0.5]}


def test_long_text_is_cut():
    """A text as long as a picture does not reach the page whole."""
    chunk = chunk_of(row([reading("camera", image="A" * 100_000)]))
    assert len(chunk.texts["camera"][0].value) == LONGEST_TEXT


def test_quarantined_readings_are_left_out():
    """Readings outside the stored span of the message are not shown; without stored readings nothing is."""
    payload = [reading("a", x=1), {"name": "a", "time": 0, "values": {"x": 9}}]
    assert chunk_of(row(payload, readings=1)).points["a"].times == [AT_MS]
    assert chunk_of(row(payload, readings=0)).points == {}


def test_chunks_merge_with_channels_that_come_and_go():
    """Points of several messages line up although not all messages have all channels."""
    first = chunk_of(row([reading("a", x=1)]))
    second = chunk_of(row([reading("a", 5, y=2), reading("a", 6, x=3)]))
    assert merged_points([first, second])["a"] == Columns(
        [AT_MS, AT_MS + 5, AT_MS + 6], {"x": [1, None, 3], "y": [None, 2, None]}
    )


def test_latest_values_are_each_channels_newest():
    """The newest value of a channel may stand in an older reading than another's, and late points do not win."""
    columns = Columns([10.0, 30.0, 20.0], {"x": [1, None, 2], "y": [4, 5, 6]})
    assert latest_values(columns) == {"x": (20.0, 2), "y": (30.0, 5)}


@pytest.mark.parametrize(
    ("times", "hz"),
    [
        ([], None),
        ([5.0], None),
        ([5.0, 5.0], None),
        ([0.0, 10.0, 20.0, 30.0], 100.0),
        ([30.0, 0.0, 20.0, 10.0], 100.0),
        ([0.0, 10.0, 20.0, 5000.0, 5010.0], 100.0),
        ([0.0, 1000.0, 2000.0, 3000.0, 4000.0, 20_000.0, 20_010.0, 20_020.0], 100.0),
    ],
)
def test_rate_is_the_usual_one(times, hz):
    """The rate comes from the last 10 s, in any order, and missing messages do not lower it."""
    assert rate_hz(times) == hz


@pytest.mark.parametrize(
    ("channel", "value", "sent"),
    [
        ("x", 0.1234567890123, 0.1234568),
        ("x", 123456789.0, 123456789),
        ("latitude", -33.868821234567, -33.86882123),
        ("x", -0.0, 0),
    ],
)
def test_values_are_sent_with_the_digits_that_can_be_seen(channel, value, sent):
    """Values are shortened, places less so, and whole numbers not at all."""
    assert shortened(channel, value) == sent
