"""Records that no ingest would write, put straight into Kafka: the stream goes on, and each is in quarantine whole."""

import json
import time
import uuid
from dataclasses import dataclass

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.faults.faults import Fault
from tests.system.stack import wait_until
from tests.system.stored import OF_DEVICES

TOPIC = "sensor-messages"
LARGEST = 12_000_000
YEAR_300000_NS = 9_404_000_000_000 * 10**9


def message(**changes):
    """A good message but for the changes."""
    reading = {"name": "s", "time": time.time_ns(), "values": {"x": 1.0}}
    return json.dumps({"messageId": 1, "sessionId": "s", "deviceId": "d", "payload": [reading], **changes}).encode()


def with_reading(**changes):
    """A message whose one reading is good but for the changes."""
    return message(payload=[{"name": "s", "time": time.time_ns(), "values": {"x": 1.0}, **changes}])


def bad_records():
    """Record values of which nothing can be stored: each goes to quarantine whole."""
    return [
        None,
        b"",
        b"null",
        b"not json",
        b'{"a": NaN}',
        b"\x00\xff\xfe",
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"[]",
        b"{}",
        b"7",
        '"überraschung"'.encode("utf-16"),
        message()[:-1],
        message(deviceId="nul \u0000"),
        message(deviceId=7),
        message(deviceId=""),
        message(sessionId=None),
        message(payload=7),
        message(payload={}),
        message(payload=[7]),
        message(payload=[{"name": "test"}]),
        with_reading(time="soon"),
        with_reading(time=1.5),
        with_reading(time=None),
        with_reading(values=7),
        with_reading(values=[1, 2]),
        with_reading(name=None),
        with_reading(values={"text": "nul \u0000"}),
        with_reading(values={"x" * 200: 1.0}),
        b"x" * 10_000_000,
    ]


def bad_readings(device):
    """Messages with a reading whose time cannot be true: that reading alone goes to quarantine."""
    times = (0, -1, 123_456_789, 2**63, 2**64 + 1, -(2**63), YEAR_300000_NS)
    ids = {"deviceId": device, "sessionId": "s"}
    reading = {"name": "s", "values": {"x": 1.0}}
    return [message(messageId=n, payload=[reading | {"time": each}], **ids) for n, each in enumerate(times)]


def odd_messages(device):
    """Messages that look odd and are none the less data."""
    ids = {"deviceId": device, "sessionId": "odd"}
    odd = (
        {"x": 1e308, "y": -1e308, "z": 5e-324},
        {"x": 2**63, "y": -(2**64)},
        {"x": "1e5", "y": "NaN", "z": "'; DROP TABLE message; --"},
        {"x": [1, [2, [3]]], "y": {"a": None}},
        {"\u202e": True, "x": None},
        {},
    )
    reading = {"name": "s", "time": time.time_ns()}
    return [message(messageId=n, payload=[reading | {"values": each}], **ids) for n, each in enumerate(odd)]


@dataclass(frozen=True)
class Poison(Fault):
    """All of them, without keys and headers, among the phones' records."""

    def inject(self, lab):
        device = f"poison-{uuid.uuid4()}"
        [driver] = lab.await_pids("driver")
        allow_large_records(lab)
        records, readings, odd = bad_records(), bad_readings(device), odd_messages(device)
        publish(lab, [*records, *readings, *odd])
        wanted = sorted(record or b"" for record in records)
        whole = "SELECT content FROM quarantine WHERE position = -1 AND key IS NULL AND quarantined_at > %s"
        began = lab.stack.query("SELECT now() - interval '5 minutes'")[0]
        wait_until(
            lambda: set(wanted) <= {bytes(content) for (content,) in lab.stack.query(whole, began)},
            120,
            "every bad record is in quarantine with its bytes",
        )
        alone = "SELECT count(*) FROM quarantine WHERE device = %s AND position >= 0"
        wait_until(lambda: lab.stack.query(alone, [device])[0][0] == len(readings), 60, "the readings are too")
        stored = f"SELECT count(*) FROM message {OF_DEVICES}"
        good = len(readings) + len(odd)
        wait_until(lambda: lab.stack.query(stored, [[device]])[0][0] == good, 60, "the others are stored")
        assert lab.pids("driver") == [driver], "the stream was started again"


def allow_large_records(lab):
    """The topic takes what ingest would never write."""
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    resource.add_incremental_config(
        ConfigEntry("max.message.bytes", str(LARGEST), incremental_operation=AlterConfigOpType.SET)
    )
    admin = AdminClient(client(lab, "admin"))  # it has to live as long as its answers are waited for
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def publish(lab, values):
    """Put the values into the topic as they are."""
    producer = Producer(client(lab, "ingest") | {"message.max.bytes": LARGEST})
    failures = []
    for value in values:
        producer.produce(TOPIC, value, on_delivery=lambda error, _: error and failures.append(error))
    assert producer.flush(60) == 0
    assert failures == []


def client(lab, principal):
    """How to reach the broker as `principal`."""
    certificates = lab.stack.directory / "certificates"
    return {
        "bootstrap.servers": f"127.0.0.1:{lab.stack.environment['KAFKA_PORT']}",
        "security.protocol": "ssl",
        "ssl.ca.location": str(certificates / "ca.crt"),
        "ssl.certificate.location": str(certificates / f"{principal}.pem"),
        "ssl.key.location": str(certificates / f"{principal}.pem"),
        "log_level": 0,
    }
