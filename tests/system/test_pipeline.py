"""What phones send to the running stack is stored once, value by value; `tests/faults` does the same through faults."""

import json
import math
import re
import subprocess
from collections import defaultdict

import pytest

from tests.system import reference
from tests.system.stack import REPOSITORY, wait_until
from tests.system.stored import compare

RECORDING = REPOSITORY / "services" / "simulator" / "data" / "walking.jsonl"
CONDITIONS = ["--duplicates", 0.05, "--reordering", 0.05]


def assert_stored_once(stack, record):
    """Everything in `record` that was acknowledged is in PostgreSQL once, value by value."""
    verdict = compare(stack, record)
    assert verdict.acknowledged > 50
    assert verdict, verdict


def finish(simulator):
    """Wait for the simulator; 0 says that every message was acknowledged in the end."""
    assert simulator.wait(timeout=180) == 0


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Where the simulator writes down what it sent and what was answered."""
    return tmp_path_factory.mktemp("records")


def test_printed_command_is_accepted(stack):
    """The command that the start prints can be pasted into a shell as it is."""
    printed = (stack.directory.parent / "run.log").read_text()
    [command] = re.findall(r"^ *curl .*\\\n.*$", printed, re.MULTILINE)
    result = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=30)
    assert (result.returncode, json.loads(result.stdout)) == (0, {"status": "ok"})


def test_first_projects_message(stack):
    """A message with `sensors`, text ids and a time of 1970 gets 200; its reading is quarantined for its time."""
    reading = {"name": "accelerometer", "time": 123456789, "values": {"x": 1.0, "y": 0.0, "z": -1.0}, "accuracy": 0.98}
    ids = {"messageId": "msg123", "sessionId": "session456", "deviceId": "device789"}
    assert stack.post(ids | {"timestamp": "2023-01-01T00:00:00Z", "sensors": [reading]})[0] == 200
    query = "SELECT reason FROM quarantine WHERE device = 'device789'"
    assert wait_until(lambda: stack.query(query), 90, "the reading is in quarantine") == [("time_too_early",)]


def test_what_is_no_message_is_refused(stack):
    """What is not a message is told so."""
    status, answer = stack.post({"payload": []})
    assert (status, answer["error"]) == (400, "bad_message")


def test_minute_of_phones(stack, records):
    """After a minute of three phones with repetitions and reordering every window equals what was sent."""
    record = records / "quiet.jsonl"
    finish(stack.simulate("--phones", 3, "--duration", 60, "--seed", 1, "--record", record, *CONDITIONS))
    stack.wait_until_stored()
    assert_stored_once(stack, record)


def test_replayed_recording(stack):
    """The means over 10 s of a replayed recording of 10 s are the recording's."""
    messages = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]
    finish(stack.simulate("--replay", RECORDING, "--align", 10))
    stack.wait_until_stored()
    values = defaultdict(list)
    for message in messages:
        for reading in message["payload"]:
            for channel, value in reading["values"].items():
                values[reading["name"], channel].append(value)
    rows = stack.query(
        """SELECT sensor, channel, count, mean
        FROM window_10s JOIN series USING (series_id) JOIN session USING (session_id) JOIN device USING (device_id)
        WHERE device = %s""",
        [messages[0]["deviceId"]],
    )
    assert len(rows) == len(values)
    for sensor, channel, count, mean in rows:
        sent = values[sensor, channel]
        assert count == len(sent)
        assert math.isclose(mean, reference.mean(channel, sent), rel_tol=1e-9)
