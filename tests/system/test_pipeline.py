"""The promise, shown on the running stack: what was acknowledged is stored exactly once, through every fault."""

import json
import math
import re
import shutil
import subprocess
import time
from collections import defaultdict

import pytest
import reference
from stack import REPOSITORY, wait_until

RECORDING = REPOSITORY / "services" / "simulator" / "data" / "walking.jsonl"
CONDITIONS = ["--duplicates", 0.05, "--reordering", 0.05]

_OF_DEVICES = """
JOIN session USING (session_id) JOIN device USING (device_id) WHERE device = ANY (%s)
"""
MESSAGES = f"SELECT device, session, number FROM message {_OF_DEVICES}"
WINDOWS = f"""
SELECT device, session, sensor, channel, extract(epoch FROM start)::bigint, count, mean, min, max
FROM window_{{resolution}}s JOIN series USING (series_id) {_OF_DEVICES}
"""
TEXTS = f"""
SELECT device, session, sensor, channel, time_ns, value FROM text_reading JOIN series USING (series_id) {_OF_DEVICES}
"""


def assert_stored_once(stack, record):
    """Everything in `record` that was acknowledged is in PostgreSQL once, value by value.

    A message whose answer was lost may be stored too, and then once like the others.
    """
    acknowledged, unanswered = reference.messages(record)
    assert len(acknowledged) > 50
    devices = [sorted({device for device, _, _ in acknowledged})]
    rows = stack.query(MESSAGES, devices)
    stored = set(rows)
    assert len(rows) == len(stored)
    assert acknowledged.keys() <= stored <= acknowledged.keys() | unanswered.keys()
    sent = {identity: (acknowledged | unanswered)[identity] for identity in stored}
    for resolution in (1, 10, 60):
        rows = stack.query(WINDOWS.format(resolution=resolution), devices)
        assert reference.differences(reference.windows(sent, resolution), {row[:5]: row[5:] for row in rows}) == []
    assert sorted(stack.query(TEXTS, devices)) == reference.texts(sent)


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


def test_kills_and_a_lost_checkpoint(stack, records):
    """kill -9 of the stream and of ingest and a deleted checkpoint, all under load, lose and double nothing."""
    record = records / "faults.jsonl"
    simulator = stack.simulate("--phones", 3, "--duration", 75, "--seed", 2, "--record", record, *CONDITIONS)
    for part, lost_checkpoint in (("stream", False), ("ingest", False), ("stream", True)):
        wait_until_flowing(stack)
        pid = stack.kill(part, children=lost_checkpoint)
        if lost_checkpoint:
            wait_until(lambda: lost(stack.directory / "checkpoint"), 10, "the checkpoint is deleted")
        wait_until(lambda part=part, pid=pid: stack.pid(part) != pid, 90, f"{part} is started again")
    finish(simulator)
    stack.wait_until_stored()
    assert_stored_once(stack, record)


def lost(directory):
    """Delete a directory; whether it is gone for good (its writer may not have ended yet)."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def wait_until_flowing(stack):
    """Wait until messages sent after this call are stored."""
    query = "SELECT count(*) FROM message WHERE broker_time > to_timestamp(%s)"
    since = time.time() + 1
    wait_until(lambda: stack.query(query, [since])[0][0] > 5, 90, "messages are stored")


def test_everything_killed_at_once(stack, records):
    """After kill -9 of everything, the next start needs no help, and nothing acknowledged is lost or doubled."""
    record = records / "crash.jsonl"
    simulator = stack.simulate("--phones", 3, "--duration", 600, "--seed", 3, "--record", record, *CONDITIONS)
    wait_until(lambda: record.exists() and record.read_text().count("\n") > 60, 60, "60 answers have come")
    wait_until_flowing(stack)
    stack.kill_everything()
    simulator.terminate()
    simulator.wait(timeout=30)
    stack.start()
    stack.wait_until_stored()
    for each in sorted(records.iterdir()):
        assert_stored_once(stack, each)


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
        assert math.isclose(mean, math.fsum(sent) / len(sent), rel_tol=1e-9)
