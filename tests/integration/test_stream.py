"""The stream as a process, with real Kafka, Spark and PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
from confluent_kafka import Producer

from ops.local.libraries import LIBRARIES, collect
from ops.local.monitoring import jvm_agent
from ops.local.processes import REPOSITORY
from ops.secrets.__main__ import jvm_access
from ops.spark.start import write_exporter
from services.common.database import connect
from services.stream.check import NAMES
from tests.ports import free_ports
from tests.scrape import (
    PASSWORD,
    assert_refuses_strangers,
    assert_tells_strangers_that_it_lives,
    password_file,
    scrape,
    told,
)

START_WITHIN_S = 90
NOW_NS = time.time_ns()


class Stream:
    """`python -m services.stream`, started and stopped by a test."""

    def __init__(self, environment, port, jvm_port, log):
        self.environment, self.port, self.jvm_port, self.log = environment, port, jvm_port, log
        self.process = None

    def start(self, **changes):
        environment = {k: v for k, v in (os.environ | self.environment | changes).items() if v is not None}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.stream"], cwd=REPOSITORY, env=environment, stdout=output, stderr=output
            )

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return scrape(self.port, "/livez")[0] == 200
        except OSError:
            return False

    def metrics(self):
        """Every sample by its name and labels as they are written."""
        lines = (line.rsplit(" ", 1) for line in told(self.port) if line[0] != "#")
        return {name: float(value) for name, value in lines}

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def wait_until(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def kafka(own_kafka):
    """A broker that holds nothing but what these tests publish."""
    return own_kafka


@pytest.fixture(scope="module")
def postgres(own_postgres):
    """A database that holds nothing but what these tests store."""
    return own_postgres


def exporter(directory, port):
    """The option of Java that loads the exporter with what the deployment tells it: whom to answer, too."""
    (directory / "jvm-access.yml").write_text(jvm_access(PASSWORD))
    write_exporter(directory, directory / "jvm-access.yml")
    agent, _, _ = jvm_agent("spark", port).rpartition(":")
    return f"{agent}:{directory / 'jmx-exporter.yml'}"


@pytest.fixture(scope="module")
def stream(kafka, postgres, directory):
    """A stream that is not started yet; killed at the end if a test left it running."""
    collect(REPOSITORY / "ops" / "spark", LIBRARIES / "spark")
    collect(REPOSITORY / "ops" / "kafka" / "exporter", LIBRARIES / "exporter")
    port, jvm_port = free_ports(2)
    environment = kafka.environment("stream") | postgres.environment("stream_writer")
    environment |= {
        "CHECKPOINT_DIR": str(directory / "checkpoint"),
        "SPARK_JARS_DIR": str(LIBRARIES / "spark"),
        "STREAM_METRICS_PORT": str(port),
        "METRICS_PASSWORD_FILE": password_file(directory),
        "SPARK_DRIVER_JAVA_OPTIONS": exporter(directory, jvm_port),
        "STREAM_HOUSEKEEPING_S": "1",
        "LOG_FORMAT": "text",
    }
    made = Stream(environment, port, jvm_port, directory / "stream.log")
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def publish(kafka):
    """Puts records straight into the topic, past ingest."""
    certificate = str(kafka.certificate_file("ingest"))
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "security.protocol": "SSL",
            "ssl.ca.location": str(kafka.ca_file),
            "ssl.certificate.location": certificate,
            "ssl.key.location": certificate,
            "message.max.bytes": 4_000_000,
            "log_level": 0,
        }
    )

    def publish(*values, key=None):
        for value in values:
            producer.produce(kafka.topic, value, key)
        assert producer.flush(30) == 0

    return publish


@pytest.fixture
def query(postgres):
    connection = connect(postgres.settings("stream_writer"), "test")
    connection.autocommit = True

    def query(statement, *parameters):
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    yield query
    connection.close()


def message(device, number, time_ns=NOW_NS):
    payload = [{"name": "s", "time": time_ns, "values": {"x": 1.0}}]
    document = {"messageId": number, "sessionId": "s", "deviceId": device, "payload": payload}
    return json.dumps(document).encode()


STRANGE = [
    None,
    b"",
    b"not json",
    b'{"a": NaN}',
    b"\x00\xff\xfe",
    b"[" * 50_000,
    b'{"payload": 7, "deviceId": "d", "sessionId": "s"}',
    message("d", 1)[:-1],
    message("nul \u0000", 1),
    b"x" * 3_000_000,
]


def stored(query, device):
    return query(
        "SELECT count(*) FROM message JOIN session USING (session_id) JOIN device USING (device_id) WHERE device = %s",
        device,
    )[0][0]


def test_strange_records_do_not_stop_the_stream(stream, publish, query):
    """Whatever is in Kafka, the stream goes on: strange records are in quarantine with their bytes, others stored."""
    device = f"device-{uuid.uuid4()}"
    publish(message(device, 0), *STRANGE, message(device, 1, 2**63), message(device, 2, 9_467_000_000 * 10**12))
    stream.start()
    wait_until(stream.is_ready, START_WITHIN_S)
    publish(message(device, 3), key=None)
    wait_until(lambda: stored(query, device) == 4)
    whole = "SELECT content FROM quarantine WHERE position = -1"
    wait_until(lambda: len(query(whole)) == len(STRANGE))  # they are in another partition
    contents = [bytes(content) for (content,) in query(whole)]
    assert sorted(contents) == sorted(value or b"" for value in STRANGE)
    reasons = query("SELECT reason FROM quarantine WHERE device = %s", device)
    assert reasons == [("time_in_future",), ("time_in_future",)]
    assert stream.process.poll() is None


def test_metrics_tell_what_happened(stream):
    """Outcomes, reasons, ages, lag, sizes, partitions ahead and the compared sums are there as metrics."""
    wait_until(lambda: stream.metrics().get('stream_records_total{outcome="quarantined"}') == len(STRANGE))
    wait_until(lambda: stream.metrics().get('stream_lag_records{partition="0"}') == 0)
    wait_until(lambda: 'stream_table_bytes{table="message"}' in stream.metrics())
    metrics = stream.metrics()
    assert metrics['stream_records_total{outcome="stored"}'] == 4
    assert metrics['stream_quarantined_total{reason="time_in_future"}'] == 2
    assert metrics['stream_quarantined_total{reason="bad_json"}'] >= 4
    assert metrics["stream_broker_to_commit_seconds_count"] == 4
    assert metrics["stream_reading_to_commit_seconds_count"] == 2
    assert metrics['stream_lag_records{partition="0"}'] == metrics["stream_lag_seconds"] == 0
    assert 2 < metrics['stream_partitions_ahead_days{table="window_1s"}'] <= 4
    assert metrics['stream_partitions_ahead_days{table="window_60s"}'] > 0
    now = time.time()
    wait_until(lambda: stream.metrics()["stream_conservation_checked_timestamp_seconds"] > now)
    differences = [value for name, value in stream.metrics().items() if name.startswith("stream_conservation_diff")]
    assert len(differences) == len(NAMES)
    assert set(differences) == {0.0}
    assert not any("housekeeping_failures" in name and value for name, value in stream.metrics().items())


def test_metrics_need_their_password(stream):
    """The port answers a stranger only that the stream lives."""
    assert_refuses_strangers(stream.port)
    assert_tells_strangers_that_it_lives(stream.port)


def test_metrics_of_the_jvm_need_it_too(stream):
    """The exporter in the driver's JVM answers nobody else."""
    assert_refuses_strangers(stream.jvm_port)
    assert any(line.startswith("jvm_memory_used_bytes") for line in told(stream.jvm_port))


def test_restart_goes_on_where_it_was(stream, publish, query):
    """After SIGTERM, which ends it with 0, and after SIGKILL the stream stores what came meanwhile, each once."""
    device = f"device-{uuid.uuid4()}"
    publish(*(message(device, n) for n in range(10)))
    wait_until(lambda: stored(query, device) == 10)
    assert stream.end(signal.SIGTERM) == 0
    publish(*(message(device, n) for n in range(5, 20)))
    stream.start()
    wait_until(lambda: stored(query, device) == 20, START_WITHIN_S)
    [(batches,)] = query("SELECT count(DISTINCT query_id) FROM batch WHERE topic = 'sensor-messages'")
    assert batches == 1
    assert stream.end(signal.SIGKILL) == -signal.SIGKILL


def test_check_adds_up(stream):
    """The check finds no difference after all that."""
    command = [sys.executable, "-m", "services.stream.check"]
    result = subprocess.run(
        command, check=False, cwd=REPOSITORY, env=os.environ | stream.environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "offsets in Kafka = in batches + lag of 0" in result.stdout


@pytest.mark.parametrize(
    ("changes", "status", "cause"),
    [
        ({"KAFKA_TOPIC": "no-such-topic"}, 1, "Topic authorization failed"),
        ({"DATABASE_PASSWORD_FILE": "/nowhere"}, 2, "DATABASE_PASSWORD_FILE=/nowhere cannot be read"),
        ({"CHECKPOINT_DIR": None}, 2, "CHECKPOINT_DIR is not set"),
    ],
)
def test_failure_is_told_in_one_line(stream, changes, status, cause):
    """A stream that cannot run ends with a status that is not 0 and its cause in its last line."""
    stream.start(**changes)
    assert stream.process.wait(timeout=START_WITHIN_S) == status
    assert cause in stream.log.read_text().strip().splitlines()[-1]
