"""Replay: any recording becomes sessions that begin now, and nothing but times and sessions changes."""

import json
from pathlib import Path

import pytest

from services.common.message import Message, Reading, encode_json
from services.simulator.__main__ import make_plans
from services.simulator.options import parse_options
from services.simulator.replay import ReplayError, begin_at, by_device, read_recording, schedule

WALKING = Path(__file__).parents[2] / "services" / "simulator" / "data" / "walking.jsonl"
FIRST = 1_700_000_000 * 10**9
NOW = 1_790_000_007 * 10**9


def message(number, device="phone", times=(0,)):
    return Message(device, "session", [Reading("a", FIRST + time * 10**9, {"x": 0.1}) for time in times], number)


def write(file, *lines):
    file.write_bytes(b"\n".join(line if isinstance(line, bytes) else encode_json(line) for line in lines) + b"\n")
    return file


def test_bare_messages(tmp_path):
    """A file of messages, one per line, is read in its order; empty lines do not matter."""
    file = write(tmp_path / "bare", message(0), b"", b" \r", message(1))
    assert [recorded.message for recorded in read_recording(file)] == [message(0), message(1)]


def test_array_of_messages(tmp_path):
    """A whole recording in one JSON array is read as well."""
    file = write(tmp_path / "array", encode_json([message(0), message(1)]))
    assert [recorded.message for recorded in read_recording(file)] == [message(0), message(1)]


def test_lines_of_a_record(tmp_path):
    """What `--record` wrote is replayed as it was sent: when, and as often."""
    line = {"sent_at": 1_700_000_005.5, "answered_at": None, "status": None, "detail": "", "message": message(0)}
    file = write(tmp_path / "record", line, {**line, "sent_at": 1_700_000_006.0, "status": 200})
    assert [recorded.sent for recorded in read_recording(file)] == [FIRST + 5_500_000_000, FIRST + 6_000_000_000]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no message"),
        (b"not json", "message 1: The body is not JSON"),
        (b"[1, 2", "not a JSON array"),
        (b'{"deviceId": "a", "sessionId": "b"}', "message 1: Object missing required field `payload`"),
        (b'{"deviceId": "a", "payload": [{"name": "test"}]}', "message 1 is a test push"),
    ],
)
def test_what_is_not_a_recording(tmp_path, content, complaint):
    """A file that cannot be replayed is refused with one line that says where."""
    with pytest.raises(ReplayError, match=complaint) as caught:
        read_recording(write(tmp_path / "odd", content))
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(ReplayError, match="nothing cannot be read: No such file"):
        read_recording(tmp_path / "nothing")


def test_times_are_shifted_alike(tmp_path):
    """The first reading is at the start, the others as far behind it as they were; values stay."""
    file = write(tmp_path / "bare", message(0, times=(3, 4)), message(1, "other", times=(0, 7)))
    replayed = begin_at(read_recording(file), NOW)
    times = [reading.time - NOW for _, made in replayed for reading in made.payload]
    assert times == pytest.approx([3e9, 4e9, 0, 7e9], abs=256)
    assert [made.deviceId for _, made in replayed] == ["phone", "other"]
    assert [made.messageId for _, made in replayed] == [0, 1]


def test_wrong_clocks_do_not_move_the_start(tmp_path):
    """A reading dated 1970 or 2100 does not count as the first or the last of a recording."""
    odd = message(0, times=(1, 1, 1))
    odd.payload[0].time, odd.payload[1].time = 123_456_789, 4_102_444_800 * 10**9
    assert begin_at(read_recording(write(tmp_path / "odd", odd, message(1, times=(2, 2, 2)))), NOW)[1].message.payload[
        0
    ].time == pytest.approx(NOW + 10**9, abs=256)


def test_clock_that_was_never_set(tmp_path):
    """A message with nothing but readings of 1970 does not make the recording begin then."""
    odd = message(0)
    odd.payload[0].time = 123_456_789
    replayed = begin_at(read_recording(write(tmp_path / "odd", odd, message(1))), NOW)
    assert replayed[1].message.payload[0].time == pytest.approx(NOW, abs=256)


def test_each_replay_is_a_new_session(tmp_path):
    """One session stays one session; replayed again it is another."""
    recorded = read_recording(write(tmp_path / "bare", message(0), message(1)))
    first, second = ({made.sessionId for _, made in begin_at(recorded, start)} for start in (NOW, NOW + 256))
    assert len(first) == len(second) == 1
    assert first != second
    assert "session" not in first | second


def test_speed(tmp_path):
    """Twice the speed halves the time between two messages."""
    recorded = read_recording(write(tmp_path / "bare", message(0), message(1, times=(10,))))
    assert [due.time - NOW for due in schedule(recorded, FIRST, NOW, 2.0)] == [0, 5 * 10**9]


def test_one_sender_per_device(tmp_path):
    """Messages of each device stay in the order of the file."""
    lines = [message(1, "a"), message(0, "b"), message(0, "a")]
    recorded = read_recording(write(tmp_path / "bare", *lines))
    assert [[r.message.messageId for r in device] for device in by_device(recorded)] == [[1, 0], [0]]


def plan(*arguments):
    (dues,) = make_plans(parse_options(["--replay", str(WALKING), *arguments]), NOW)
    return list(dues)


def test_recording_replayed_to_the_next_ten_seconds():
    """With `--align 10` the recording of 10 s fills one window of 10 s exactly, its values unaltered."""
    readings = [reading for due in plan("--align", "10") for reading in due.message.payload]
    recorded = [reading for line in WALKING.read_text().splitlines() for reading in json.loads(line)["payload"]]
    assert [reading.values for reading in readings] == [reading["values"] for reading in recorded]
    assert {reading.time // 10**10 for reading in readings} == {NOW // 10**10 + 1}
    assert readings[0].time % 10**10 == 0


def test_replay_sends_when_the_readings_are_over():
    """At normal speed each message is sent when its last reading has been made."""
    assert [due.time for due in plan()] == [due.message.payload[-1].time for due in plan()]


def test_replay_as_recorded():
    """With `--as-recorded` ids and times are those of the file."""
    recorded = [line.message for line in read_recording(WALKING)]
    assert [due.message for due in plan("--as-recorded")] == recorded
