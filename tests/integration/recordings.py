"""Recordings for tests of what people see: messages in the app's shapes, stored by the stream's own code."""

import contextlib
import json
import math
import time
import uuid

from services.common.database import connect
from services.stream.decode import Record, decode
from services.stream.receipts import BatchKey
from services.stream.store import prepare, store

TOPIC = "sensor-messages"


@contextlib.contextmanager
def stream_connection(postgres):
    """A connection as the stream has it."""
    with contextlib.closing(connect(postgres.settings("stream_writer"), "test")) as connection:
        prepare(connection)
        yield connection


class Recorder:
    """One phone that records one session. `connection` is `stream_connection`'s; every message is committed at once."""

    def __init__(self, connection, device="phone-1", session="session-1", partition=0):
        self.connection = connection
        self.device = device
        self.session = session
        self.partition = partition
        self.number = 0

    def send(self, readings, broker_time=None):
        """Store one message of (sensor, time in s, values) readings that arrives at `broker_time` (default: now)."""
        payload = [{"name": name, "time": round(at * 1e9), "values": values} for name, at, values in readings]
        body = {"messageId": self.number, "sessionId": self.session, "deviceId": self.device, "payload": payload}
        self.store(json.dumps(body).encode(), broker_time)
        self.number += 1

    def store(self, value, broker_time=None):
        """Store one record value as the stream does."""
        offset = _next_offset(self.connection, self.partition)
        broker_us = int((time.time() if broker_time is None else broker_time) * 1e6)
        entries, bad = decode([Record(TOPIC, self.partition, offset, broker_us, None, value)])
        key = BatchKey(str(uuid.uuid4()), 0, TOPIC, self.partition, offset, offset + 1)
        store(self.connection, key, entries, bad)
        self.connection.commit()


def _next_offset(connection, partition):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(max(offset_until), 0) FROM batch WHERE topic = %s AND partition = %s", (TOPIC, partition)
        )
        return cursor.fetchone()[0]


def motion(start, seconds, rate=50):
    """Readings of an accelerometer from `start` on: a sine of 1 Hz on x, constants on y and z."""
    times = [start + place / rate for place in range(round(seconds * rate))]
    return [
        ("accelerometer", at, {"x": math.sin(2 * math.pi * at), "y": 0.5, "z": -9.81 + 0.1 * (at % 1)}) for at in times
    ]
