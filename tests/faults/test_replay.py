"""What Kafka holds is read again, or no longer there: replays, a new database, records that were deleted unread."""

import shutil
import signal

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults.faults import gone
from tests.faults.poison import TOPIC, client
from tests.processes import send
from tests.system import reference
from tests.system.stack import wait_until
from tests.system.stored import compare

pytestmark = pytest.mark.long


def test_topic_replayed_twice(lab):
    """Two lost checkpoints after each other: all of the topic is read three times and stored once."""
    record = lab.send(30)
    lab.stack.wait_until_stored()
    rows = lab.stack.query("SELECT sum(messages) FROM partition_progress")
    for _ in range(2):
        lab.end_stream()
        wait_until(lambda: gone(lab.checkpoint), 10, "the checkpoint is deleted")
        lab.await_whole(180)
        lab.stack.wait_until_stored()
    assert lab.stack.query("SELECT sum(messages) - 8 FROM partition_progress") == rows  # the probes are new
    assert lab.stack.query("SELECT sum(duplicates) > 2 * sum(messages) - 100 FROM partition_progress") == [(True,)]
    assert compare(lab.stack, record)


def test_new_database_and_a_full_topic(lab):
    """A database that was lost is filled again from what Kafka holds."""
    record = lab.send(20, seed=2)
    lab.stack.wait_until_stored()
    lab.stack.stop()
    for name in ("postgres", "checkpoint"):
        shutil.rmtree(lab.stack.directory / name)
    lab.stack.start()
    lab.stack.wait_until_stored()
    assert compare(lab.stack, record)


def test_full_database_and_a_new_topic(lab):
    """Kafka's data was lost: what was stored stays, and offsets of the new topic are not taken for the old one's."""
    record = lab.send(20, seed=5)
    lab.stack.wait_until_stored()
    [(before,)] = lab.stack.query("SELECT sum(upper(offsets)) FROM partition_progress")
    lab.stack.stop()
    shutil.rmtree(lab.stack.directory / "kafka")
    lab.stack.start()
    later = lab.send(10, seed=6)
    lab.stack.wait_until_stored()
    assert compare(lab.stack, record)
    assert compare(lab.stack, later)
    [(after,)] = lab.stack.query("SELECT sum(upper(offsets)) FROM partition_progress")
    assert 0 < after < before


def test_records_deleted_before_they_were_read(lab):
    """The stream stops, tells how many are lost and what to type, and goes on with what is left once that was typed."""
    lab.await_whole(120)
    stopped = [*lab.pids("driver"), *lab.pids("jvm"), *lab.pids("python worker")]
    send(stopped, signal.SIGSTOP)
    lost_record = lab.send(20, seed=3)
    lost = delete_all_records(lab)
    lab.end_stream()
    wait_until(lambda: f"{lost} records are lost" in lab.log_of_stream(), 120, "the loss is told")
    assert "resume --accept-loss" in lab.log_of_stream()
    record = lab.send(20, seed=4)
    status, output = lab.run_of("resume")
    assert (status, f"{lost} records are lost" in output) == (1, True)
    status, output = lab.run_of("resume", "--accept-loss")
    assert (status, "accepted" in output) == (0, True)
    lab.await_whole(180)
    lab.stack.wait_until_stored()
    assert compare(lab.stack, record)
    acknowledged, _ = reference.messages(lost_record)
    assert compare(lab.stack, lost_record).lost == len(acknowledged)
    assert lab.run_of("resume")[0] == 0


def delete_all_records(lab):
    """As Kafka's retention does; returns how many had not been read."""
    stored = dict(lab.stack.query("SELECT partition, upper(offsets) FROM partition_progress"))
    admin = AdminClient(client(lab, "admin"))
    futures = admin.delete_records([TopicPartition(TOPIC, partition, -1) for partition in stored])
    first = {place.partition: future.result(30).low_watermark for place, future in futures.items()}
    return sum(first[partition] - stored[partition] for partition in stored)
