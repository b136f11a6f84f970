"""What tests of the store transaction share: a partition of a topic of its own, and messages to store."""

import json
import time
import uuid

from services.stream.decode import DEFAULT_RULES, Record, decode
from services.stream.receipts import BatchKey
from services.stream.store import store

NOW_S = int(time.time()) // 60 * 60 - 3600
NOW_NS = NOW_S * 10**9


class Partition:
    """A partition of a topic of its own: gives records their offsets and stores them batch by batch."""

    def __init__(self, connection):
        self.connection = connection
        self.topic = f"topic-{uuid.uuid4()}"
        self.query_id = str(uuid.uuid4())
        self.batch_id = 0
        self.offset = 0

    def records(self, *values):
        records = []
        for value in values:
            body = json.dumps(value).encode() if isinstance(value, dict) else value
            records.append(Record(self.topic, 0, self.offset, NOW_NS // 1000 + self.offset, b"key", body))
            self.offset += 1
        return records

    def store(self, records, *, replay=False, commit=True, connection=None, rules=DEFAULT_RULES):
        self.batch_id += not replay
        key = BatchKey(self.query_id, self.batch_id, self.topic, 0, records[0].offset, records[-1].offset + 1)
        connection = connection or self.connection
        receipt = store(connection, key, *decode(records, rules))
        if commit:
            connection.commit()
        return receipt

    def query(self, statement, *parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = cursor.fetchall()
        self.connection.rollback()
        return rows


def message(device, number, *readings, session="s"):
    payload = [{"name": name, "time": time_ns, "values": values} for name, time_ns, values in readings]
    return {"messageId": number, "sessionId": session, "deviceId": device, "payload": payload}
