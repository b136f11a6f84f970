"""Entries to windows, against an independent computation."""

import json
import math
import random
import statistics
from collections import defaultdict

import pytest

from services.stream.decode import Record, decode
from services.stream.windows import RESOLUTIONS_S, Values, windows

START_NS = 1_764_000_000_000_000_000


def entries_of(*payloads):
    records = [
        Record(
            "t",
            0,
            number,
            START_NS // 1000,
            None,
            json.dumps({"messageId": number, "sessionId": "s", "deviceId": "d", "payload": payload}).encode(),
        )
        for number, payload in enumerate(payloads)
    ]
    entries, bad = decode(records)
    assert bad == []
    return entries


def rows_of(values):
    return {
        (row["resolution"], values.series[row["series"]][2:], row["start"]): row for row in windows(values).to_pylist()
    }


@pytest.mark.parametrize("seed", range(3))
def test_windows_equal_the_statistics_of_their_values(seed):
    """Count, mean, M2, min and max of each window are those of its values, at every resolution."""
    generator = random.Random(seed)
    expected = defaultdict(list)
    payload = []
    for _ in range(500):
        time = START_NS + generator.randrange(0, 90 * 10**9)
        sensor, value = generator.choice(["a", "b c"]), generator.gauss(100, 3)
        payload.append({"name": sensor, "time": time, "values": {"x": value}})
        for resolution in RESOLUTIONS_S:
            expected[resolution, (sensor, "x"), time // 10**9 // resolution * resolution].append(value)
    rows = rows_of(Values(entries_of(payload[:200], payload[200:])))
    assert rows.keys() == expected.keys()
    for key, numbers in expected.items():
        row, mean = rows[key], statistics.fmean(numbers)
        assert (row["count"], row["min"], row["max"]) == (len(numbers), min(numbers), max(numbers))
        assert math.isclose(row["mean"], mean, rel_tol=1e-12)
        assert math.isclose(row["m2"], sum((n - mean) ** 2 for n in numbers), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("channel", "values", "mean"),
    [
        ("bearing", [359, 1], 0),
        ("magneticBearing", [350, 20], 5),
        ("bearing", [90, 91, 92], 91),
        ("bearing", [271.5], 271.5),
        ("course", [181, 183], 182),
        ("bearing", [350, 352], 351),
        ("longitude", [179.9, -179.9, -179.6], -179.866666),
        ("yaw", [3.1, -3.1], math.pi),
        ("roll", [-0.1, 0.3], 0.1),
        ("pitch", [-1.5, 1.5], 0),
        ("x", [359, 1], 180),
    ],
)
def test_angles_have_a_circular_mean(channel, values, mean):
    """The mean of an angle is the direction between its values, in the range in which they come."""
    rows = rows_of(
        Values(entries_of([{"name": "s", "time": START_NS, "values": {channel: value}} for value in values]))
    )
    for row in rows.values():
        assert math.isclose(row["mean"], mean, rel_tol=1e-6, abs_tol=1e-12)


def test_spread_of_an_angle_is_near_the_squared_deviations():
    """M2 of an angle is close to the sum of squared deviations, across the wrap too."""
    values = [359.5, 0.5, 0.0, 359.0, 1.0]
    payload = [{"name": "s", "time": START_NS, "values": {"bearing": value}} for value in values]
    for row in rows_of(Values(entries_of(payload))).values():
        assert math.isclose(row["m2"], 2.5, rel_tol=1e-3)
        assert (row["min"], row["max"]) == (0.0, 359.5)


def test_not_known_is_counted():
    """Values that say "not known" are counted for their message."""
    first = [{"name": "location", "time": START_NS, "values": {"speed": -1, "bearing": -1.0, "latitude": -3}}]
    values = Values(entries_of(first, [{"name": "battery", "time": START_NS, "values": {"batteryLevel": 0.5}}]))
    assert (values.not_known, values.counts) == ([2, 0], [(1, 0), (1, 0)])


def test_texts_stay_rows():
    """Text values are rows with the place of their reading, beside the numbers of the same reading."""
    values = Values(
        entries_of([{"name": "wifi", "time": START_NS, "values": {"ssid": ssid, "level": -50}} for ssid in "ab"])
    )
    assert [(values.series[t.series][2:], t.position, t.value) for t in values.texts] == [
        (("wifi", "ssid"), 0, "a"),
        (("wifi", "ssid"), 1, "b"),
    ]
    assert values.counts == [(2, 2)]


def test_extreme_numbers_do_not_overflow():
    """The largest and the smallest numbers that are aggregated give finite windows."""
    payload = [{"name": "s", "time": START_NS, "values": {"x": value}} for value in (1e100, -1e100, 5e-324, 0)]
    for row in rows_of(Values(entries_of(payload))).values():
        assert all(math.isfinite(row[name]) for name in ("mean", "m2", "min", "max"))


def test_nothing_gives_no_windows():
    """Entries without numbers give an empty table."""
    assert windows(Values(entries_of([]))).num_rows == 0
