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
