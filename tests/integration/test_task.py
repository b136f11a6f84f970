"""A task's handling of faults, on a real PostgreSQL."""

import contextlib
import json
import time
import uuid

import pyarrow as pa
import pytest

from services.common.database import connect
from services.stream import task
from services.stream.trace import BatchTrace

NOW_US = int(time.time() * 1e6)
UNTRACED = BatchTrace(None, False)


@pytest.fixture(autouse=True)
def worker(postgres, monkeypatch):
    """The environment of a Spark worker process; its connection is closed at the end."""
    for name, value in postgres.environment("stream_writer").items():
        monkeypatch.setenv(name, value)
    yield
    task._disconnect()


@pytest.fixture
def owner(postgres):
    connection = connect(postgres.settings("owner"), "test")
    connection.autocommit = True
    yield connection
    connection.close()


def arrow(topic, *values, traceparents=()):
    bodies = [json.dumps(value).encode() if isinstance(value, dict) else value for value in values]
    return pa.RecordBatch.from_pydict(
        {
            "topic": [topic] * len(bodies),
            "partition": pa.array([0] * len(bodies), pa.int32()),
            "offset": list(range(len(bodies))),
            "timestamp": pa.array([NOW_US + n for n in range(len(bodies))], pa.timestamp("us", "UTC")),
            "key": pa.array([b"k"] * len(bodies), pa.binary()),
            "value": pa.array(bodies, pa.binary()),
            "traceparent": pa.array(traceparents or [None] * len(bodies), pa.binary()),
        }
    )


def message(device, number, text):
    payload = [{"name": "note", "time": NOW_US * 1000, "values": {"text": text, "x": 1.0}}]
    return {"messageId": number, "sessionId": "s", "deviceId": device, "payload": payload}


def run(batch, trace=UNTRACED):
    return list(task.store_partition(str(uuid.uuid4()), 0, trace, iter([batch])))


def test_task_stores_a_partition_and_gives_a_receipt():
    """Arrow batches of records go in, one receipt with counts and step times comes out."""
    device = f"device-{uuid.uuid4()}"
    [receipt] = run(arrow(f"t-{device}", message(device, 1, "a"), None, b"x"))
    assert (receipt.records, receipt.messages, receipt.quarantined) == (3, 1, 2)
    assert receipt.newest_broker_us == NOW_US + 2
    assert receipt.seconds.keys() == {"read", "decode", "lock", "aggregate", "write", "store"}
    assert sum(receipt.seconds[step] for step in ("lock", "aggregate", "write")) <= receipt.seconds["store"]


@pytest.mark.parametrize(("is_sampled", "flags", "linked"), [(False, "00", 0), (False, "01", 2), (True, "00", 0)])
def test_batch_row_names_a_trace_that_is_recorded(owner, is_sampled, flags, linked):
    """The row names the batch's trace if it is sampled or holds a message that is; the receipt names those."""
    device = f"device-{uuid.uuid4()}"
    traceparent = f"00-{'a' * 32}-{'b' * 16}-{flags}".encode()
    records = [message(device, n, "a") for n in range(3)]
    batch = arrow(f"t-{device}", *records, traceparents=[traceparent, None, traceparent])
    [receipt] = run(batch, BatchTrace("c" * 32, is_sampled))
    assert receipt.traceparents == [traceparent.decode()] * linked
    with owner.cursor() as cursor:
        cursor.execute("SELECT trace_id FROM batch WHERE topic = %s", (f"t-{device}",))
        assert cursor.fetchall() == [("c" * 32 if is_sampled or linked else None,)]


def test_record_that_cannot_be_stored_is_quarantined(owner):
    """A record that the database refuses is found and quarantined whole; its neighbours are stored."""
    device, topic = f"device-{uuid.uuid4()}", f"t-{uuid.uuid4()}"
    with owner.cursor() as cursor:
        cursor.execute("ALTER TABLE text_reading ADD CONSTRAINT no_poison CHECK (value <> 'poison')")
        try:
            texts = ["a", "b", "poison", "c", "poison", "d"]
            [receipt] = run(arrow(topic, *(message(device, n, text) for n, text in enumerate(texts))))
        finally:
            cursor.execute("ALTER TABLE text_reading DROP CONSTRAINT no_poison")
        assert (receipt.messages, receipt.quarantined) == (4, 2)
        cursor.execute('SELECT "offset", reason, detail, content FROM quarantine WHERE topic = %s ORDER BY 1', (topic,))
        rows = cursor.fetchall()
    assert [(offset, reason) for offset, reason, _, _ in rows] == [(2, "cannot_store"), (4, "cannot_store")]
    assert all("no_poison" in detail and b"poison" in bytes(content) for _, _, detail, content in rows)


def test_lost_connection_is_made_again(postgres):
    """When PostgreSQL ends the worker's connection, the next batch is stored over a new one."""
    device = f"device-{uuid.uuid4()}"
    run(arrow(f"t1-{device}", message(device, 1, "a")))
    with contextlib.closing(connect(postgres.settings("stream_writer"), "test")) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'stream'")
        assert cursor.fetchall() == [(True,)]
    [receipt] = run(arrow(f"t2-{device}", message(device, 2, "b")))
    assert receipt.messages == 1
