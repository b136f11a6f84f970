"""Records to entries."""

import json

import pytest

from services.stream.decode import AHEAD_NS, EARLIEST_NS, HOUR_NS, Record, Rules, decode, first_of_each

NOW_NS = 1_764_000_000_000_000_000


def record(value, offset=0):
    if isinstance(value, dict):
        value = json.dumps(value).encode()
    return Record("sensor-messages", 0, offset, NOW_NS // 1000, b"d", value)


def message(*times, number=7, **more):
    payload = [{"name": "s", "time": time, "values": {"x": 1.5}} for time in times]
    return {"messageId": number, "sessionId": "s", "deviceId": "d", "payload": payload, **more}


def test_message_becomes_entry():
    """A message becomes an entry with its identity and readings."""
    [entry], bad = decode([record(message(NOW_NS, NOW_NS + 1_000_000))])
    assert bad == []
    assert entry.identity == ("d", "s", NOW_NS // HOUR_NS, 7)
    assert entry.span_us == (NOW_NS // 1000, NOW_NS // 1000 + 1000)
    assert [position for position, _ in entry.readings] == [0, 1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"not json",
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * 100_000,
        b"[]",
        b"{}",
        {"deviceId": "d", "sessionId": "s"},
        {"deviceId": "d", "payload": []},
        {"deviceId": "d", "payload": [{"name": "test"}]},
        message("1764000000"),
        message(1.5),
        message(NOW_NS) | {"deviceId": "x" * 129},
        message(NOW_NS) | {"sessionId": "nul \u0000"},
        message(NOW_NS) | {"payload": [{"name": "s", "time": NOW_NS, "values": [1]}]},
    ],
)
def test_what_is_no_message_is_a_bad_record(value):
    """Bytes that are not a message become a bad record with a reason; decoding never raises."""
    entries, [bad] = decode([record(value)])
    assert entries == []
    assert bad.reason in {"bad_json", "bad_message"}
    assert bad.detail.endswith(".")


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (123_456_789, "time_too_early"),
        (EARLIEST_NS - 1, "time_too_early"),
        (EARLIEST_NS, "time_before_kept"),
        (NOW_NS - 1826 * 24 * HOUR_NS - 1, "time_before_kept"),
        (-(2**70), "time_too_early"),
        (NOW_NS + AHEAD_NS + 1_000, "time_in_future"),
        (4_102_444_800 * 10**9, "time_in_future"),
        (2**63, "time_in_future"),
        (10**24, "time_in_future"),
    ],
)
def test_impossible_time_costs_that_reading_only(time, reason):
    """A reading whose time cannot be true is set aside alone; its neighbours stay."""
    [entry], _ = decode([record(message(NOW_NS, time, NOW_NS + 1))])
    assert [position for position, _ in entry.readings] == [0, 2]
    [bad] = entry.bad_readings
    assert (bad.position, bad.reason) == (1, reason)
    assert json.loads(bad.content)["time"] == time


@pytest.mark.parametrize("time", [NOW_NS - 1826 * 24 * HOUR_NS, NOW_NS - 3 * HOUR_NS, NOW_NS + AHEAD_NS])
def test_late_and_ahead_is_data(time):
    """Hours late, years late or a day ahead: data."""
    [entry], _ = decode([record(message(time))])
    assert len(entry.readings) == 1


def test_nothing_is_too_old_while_it_is_kept():
    """With a longer age of the coarsest windows a reading of the year 2000 is data."""
    [entry], _ = decode([record(message(EARLIEST_NS))], Rules(keep_days=10_000))
    assert len(entry.readings) == 1


@pytest.mark.parametrize(("age_s", "is_late"), [(-10, False), (60, False), (61, True), (3 * 3600, True)])
def test_late_is_what_comes_long_after_its_last_reading(age_s, is_late):
    """A message is late when its broker time is more than a minute after its last reading, however old its first."""
    [entry], _ = decode([record(message(NOW_NS - 4 * HOUR_NS, NOW_NS - age_s * 10**9))])
    assert entry.is_late == is_late


def test_repetition_within_a_batch_counts_once():
    """Of two copies in one batch the first stays; another hour of the same number is another message."""
    later = message(NOW_NS + HOUR_NS)
    copies = [record(message(NOW_NS), 0), record(message(NOW_NS), 1), record(later, 2)]
    entries, _ = decode(copies)
    assert [entry.record.offset for entry in first_of_each(entries)] == [0, 2]


def test_empty_payload_is_a_message():
    """A message without readings is stored like any other, under an hour that every copy shares."""
    [entry], _ = decode([record(message())])
    assert (entry.hour, entry.span_us) == (0, None)
