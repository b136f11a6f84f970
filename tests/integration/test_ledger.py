"""What is missing of a session, and the report of it, on a real PostgreSQL."""

import json
import subprocess
import sys

import pytest

from tests.integration.storing import NOW_NS, message

HOUR_NS = 3600 * 10**9


def store_numbers(partition, device, hours):
    """Store messages with these numbers, by how many hours before now their reading is."""
    messages = [
        message(device, number, ("s", NOW_NS - hours_ago * HOUR_NS, {"x": 1.0}))
        for hours_ago, numbers in hours.items()
        for number in numbers
    ]
    partition.store(partition.records(*messages))


@pytest.mark.parametrize(
    ("hours", "expected", "missing"),
    [
        ({0: range(10)}, 10, []),
        ({1: [0, 1, 4], 0: [5, 8]}, 9, ["2-3", "6-7"]),
        ({0: [3]}, 4, ["0-2"]),
        ({1: [0, 1, 3], 0: [2, 4]}, 5, []),  # around the hour the order of readings is not that of messages
        ({24: range(500, 700), 0: [700, 701, 0, 1, 2, 4]}, 702 + 5, ["0-499", "3"]),  # 24 hours: counts from 0 again
        ({25: range(300), 1: [*range(300, 310), *range(20)], 0: range(20, 25)}, 335, []),
        ({24: range(100), 0: range(100)}, 200, []),
        ({3: [5], 0: [0, 1, 2, 3, 4, 6]}, 7, []),  # its first reading was an old position
        ({0: ["a", "b", 1]}, 4, ["0"]),
        ({0: ["a", None]}, 2, []),
    ],
)
def test_missing_messages(partition, device, hours, expected, missing):
    """Holes in the counted numbers are missing, for each time that counting began; other ids cannot be missed."""
    store_numbers(partition, device, hours)
    [row] = partition.query("SELECT expected, received, missing_ranges FROM session_ledger WHERE device = %s", device)
    assert row == (expected, sum(len(numbers) for numbers in hours.values()), missing)


def test_message_of_an_absurd_hour_fills_its_hole(partition, device):
    """A message whose first reading is dated 1970 or 2262 is not missing."""
    odd = [message(device, number, ("s", time_ns, {"x": 1.0})) for number, time_ns in ((1, 5), (2, 2**63 + 10**18))]
    store_numbers(partition, device, {1: [0], 0: [3]})
    partition.store(partition.records(*odd))
    assert partition.query("SELECT missing, expected FROM session_ledger WHERE device = %s", device) == [(0, 4)]


def test_report(postgres, partition, device):
    """The command prints a line for each session, what it misses below it, and all of it as JSON."""
    late = NOW_NS - 3 * HOUR_NS
    messages = [message(device, n, ("s", late, {"x": 1.0}), ("s", 5, {"x": 1.0}), session="walk") for n in (0, 2, 2)]
    partition.store(partition.records(*messages))
    command = [sys.executable, "-m", "services.stream.ledger", "report", "--device", device]
    environment = postgres.environment("stream_writer")
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert "missing: 1" in text
    [row] = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True, env=environment).stdout)
    wanted = {
        "session": "walk", "expected": 3, "received": 2, "missing": 1, "missing_ranges": ["1"], "duplicates": 1,
        "late": 2, "readings": 2, "readings_quarantined": 2, "messages_quarantined": 0,
    }  # fmt: skip
    assert row | wanted == row


def test_sizes_and_forecast(postgres, partition, device):
    """The report of sizes names every table that is kept by age, with its days."""
    store_numbers(partition, device, {0: range(3)})
    command = [sys.executable, "-m", "services.stream.retention", "report", "--json"]
    environment = postgres.environment("stream_writer")
    tables = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    assert {table["name"]: table["days"] for table in tables} == {
        "message": 7, "window_1s": 14, "window_10s": 180, "window_60s": 1826, "text_reading": 180, "batch": 3,
        "quarantine": 90, "ledger": 30,
    }  # fmt: skip
    assert all(table["size"] > 0 for table in tables)
