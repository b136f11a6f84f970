"""Ingest as it runs in production, as processes on free ports, and what tests say to it."""

import http.client
import json
import re
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ops.local.processes import Command, last_lines, start, stop, wait_until
from services.common.database import connect
from services.common.tokens import digest
from tests.ports import free_ports
from tests.scrape import password_file, told

TOKEN = "token-of-the-tests"
JSON = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
UNLIMITED = {"INGEST_RATE": "100000", "INGEST_BURST": "100000"}
ARGUMENTS = ["-m", "gunicorn", "--config", "python:services.ingest.gunicorn_conf", "services.ingest.wsgi:application"]


class Ingest:
    """gunicorn with its workers; a context manager that starts and ends them."""

    def __init__(self, directory, postgres, kafka, principal="ingest", **settings):
        allow(postgres, TOKEN)
        self.port, self.metrics_port = free_ports(2)
        self.log_file = directory / f"ingest-{self.port}.log"
        environment = kafka.environment(principal) | postgres.environment("ingest_reader")
        environment |= {"LOG_FORMAT": "text"} | UNLIMITED | settings
        addresses = {
            "INGEST_HOST": "127.0.0.1",
            "INGEST_PORT": str(self.port),
            "INGEST_METRICS_PORT": str(self.metrics_port),
            "METRICS_PASSWORD_FILE": password_file(directory),
        }
        self.command = Command([sys.executable, *ARGUMENTS], addresses | environment)
        self.process = None

    def start(self):
        self.process = start(self.command, self.log_file, f"tests:{self.log_file}")

    def __enter__(self):
        self.start()
        assert wait_until(self.is_listening, 20, self.process), "\n".join(last_lines(self.log_file, 20))
        return self

    def __exit__(self, *_):
        assert stop(self.process, self.command.stop_signal, 20), "ingest does not end by itself"

    def is_listening(self):
        try:
            return self.get("/livez")[0] == 200
        except OSError:
            return False

    def is_ready(self):
        return self.get("/readyz")[0] == 200

    def connect(self):
        """A connection that stays open between requests."""
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))

    def get(self, path):
        with self.connect() as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def post(self, body, **headers):
        with self.connect() as connection:
            return post(connection, body, **headers)

    def raw(self, request, timeout_s=15):
        """Everything that is answered to these bytes until the connection ends, or stays silent after an answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(request)
            return read_answers(connection)

    def metric(self, name):
        """The value of a metric's line, named with its labels."""
        return next(float(line.rpartition(" ")[2]) for line in told(self.metrics_port) if line.startswith(f"{name} "))

    def workers(self):
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def log(self):
        return self.log_file.read_text()


def allow(postgres, token):
    """Let everybody send with this token."""
    statement = "INSERT INTO ingest_token (name, sha256, shared) VALUES (%s, %s, true) ON CONFLICT DO NOTHING"
    with (
        closing(connect(postgres.settings("dashboard"), "tests")) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, (f"tests {digest(token).hex()}", digest(token)))


def post(connection, body, **headers):
    """POST on an open connection; returns status and the answer's JSON."""
    connection.request("POST", "/sensor_data", body, JSON | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def read_answers(connection):
    """Bytes until the server closes, or has nothing more to say a moment after whole answers."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            if received:
                return received
            raise
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece
        connection.settimeout(0.2)


def statuses(answers):
    """The status of each answer in raw bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def message(number, device="phone", readings=1):
    """A message as the app sends it."""
    payload = [
        {"name": "gyroscope", "time": time.time_ns(), "values": {"x": 0.5, "y": -1, "z": i}} for i in range(readings)
    ]
    return json.dumps({"messageId": number, "sessionId": "walk", "deviceId": device, "payload": payload}).encode()


def read_topic(kafka, topic, principal="stream"):
    """Every record of the topic, in the order of each partition."""
    return read_topic_from(kafka, topic, {}, principal)


def topic_ends(kafka, topic, principal="stream"):
    """The offset of each partition that its next record will have."""
    with closing(_consumer(kafka, principal)) as consumer:
        return _ends(consumer, topic)


def read_topic_from(kafka, topic, offsets, principal="stream"):
    """Every record of the topic from these offsets of its partitions on, in the order of each partition."""
    with closing(_consumer(kafka, principal)) as consumer:
        ends = _ends(consumer, topic)
        starts = {i: offsets.get(i, 0) for i in ends}
        consumer.assign([TopicPartition(topic, i, starts[i]) for i, end in ends.items() if end > starts[i]])
        records = []
        while len(records) < sum(ends.values()) - sum(starts.values()):
            record = consumer.poll(10)
            assert record is not None, "the topic does not answer"
            if record.error() and record.error().code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise KafkaException(record.error())
            if not record.error():
                records.append(record)
        return records


def _ends(consumer, topic):
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    return {i: consumer.get_watermark_offsets(TopicPartition(topic, i), timeout=10)[1] for i in partitions}


def _consumer(kafka, principal):
    certificate = str(kafka.certificate_file(principal))
    return Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "security.protocol": "ssl",
            "ssl.ca.location": str(kafka.ca_file),
            "ssl.certificate.location": certificate,
            "ssl.key.location": certificate,
            "group.id": "none",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )


def numbers_of(records, device):
    """The messageIds that a device's records hold, in their order."""
    return [json.loads(record.value())["messageId"] for record in records if record.key() == device.encode()]
