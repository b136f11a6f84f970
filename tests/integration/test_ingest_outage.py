"""Ingest when Kafka is away, refuses it, or was never there; and when it cannot start."""

import functools
import subprocess
import time

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from ingest_server import Ingest, message, numbers_of, read_topic

from ops.local.processes import REPOSITORY, wait_until

ANSWER_WITHIN_S = 6
RECOVERY_WITHIN_S = 5


@pytest.fixture(scope="module")
def broker(own_kafka):
    """A broker that these tests may end."""
    return own_kafka


@pytest.fixture(scope="module")
def new_ingest(directory, postgres):
    """Makes an ingest against a broker, acting as a principal, with settings of its own."""
    return functools.partial(Ingest, directory, postgres)


def assert_refused_in_time(ingest, number):
    """A message is answered with 503 within the time that phones are promised."""
    started = time.monotonic()
    status, answer = ingest.post(message(number, "patient"))
    assert (status, answer["error"]) == (503, "not_acknowledged")
    assert time.monotonic() - started < ANSWER_WITHIN_S


def accepts(ingest, number):
    return ingest.post(message(number, "patient"))[0] == 200


@pytest.mark.parametrize(("leave", "come_back"), [("pause", "resume"), ("kill", "start")])
def test_broker_that_comes_back_is_used_again(broker, new_ingest, leave, come_back):
    """While Kafka is away: 503 in time and not ready, yet alive. When it is back: 200 soon, by the same worker."""
    with new_ingest(broker) as ingest:
        assert wait_until(ingest.is_ready, 20)
        assert accepts(ingest, 1)
        workers = ingest.workers()
        getattr(broker, leave)()
        assert_refused_in_time(ingest, 2)
        assert ingest.get("/readyz")[1]["checks"]["kafka"].startswith("no answer from 127.0.0.1:")
        assert ingest.get("/livez")[0] == 200
        getattr(broker, come_back)()
        assert wait_until(lambda: accepts(ingest, 4), RECOVERY_WITHIN_S)
        assert wait_until(ingest.is_ready, RECOVERY_WITHIN_S)
        assert ingest.workers() == workers
        assert {1, 4} <= set(numbers_of(read_topic(broker, broker.topic), "patient"))


def test_starts_without_kafka_and_finds_it_later(new_kafka, new_ingest):
    """Started before Kafka, ingest is alive but not ready, says why now and then, and begins once Kafka is there."""
    late = new_kafka("kafka-late")
    with new_ingest(late) as ingest:
        assert ingest.get("/readyz")[0] == 503
        assert_refused_in_time(ingest, 1)
        assert ingest.log().count("Connection refused") < 10
        late.start()
        assert wait_until(ingest.is_ready, 20)
        assert wait_until(lambda: accepts(ingest, 2), 2 * RECOVERY_WITHIN_S), ingest.log()
    late.stop()


def test_missing_right_is_named_and_mended_without_restart(broker, new_ingest):
    """Without the right to write ingest is not ready and says so; once it has the right, it goes on by itself."""
    certificate = str(broker.certificate_file("admin"))
    admin = AdminClient(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "security.protocol": "ssl",
            "ssl.ca.location": str(broker.ca_file),
            "ssl.certificate.location": certificate,
            "ssl.key.location": certificate,
        }
    )
    right = AclBinding(
        ResourceType.TOPIC,
        broker.topic,
        ResourcePatternType.LITERAL,
        "User:stream",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    with new_ingest(broker, "stream") as ingest:
        assert wait_until(lambda: ingest.get("/readyz")[1]["checks"]["producer"] != "ok", 20)
        status, answer = ingest.post(message(1, "stranger"))
        assert (status, answer["error"]) == (503, "not_acknowledged")
        assert "authorization" in ingest.log().lower()
        admin.create_acls([right])[right].result(10)
        assert wait_until(lambda: ingest.post(message(2, "stranger"))[0] == 200, 20)
        assert wait_until(ingest.is_ready, 10)
        assert ingest.metric("ingest_producers_replaced_total") >= 1


def test_unknown_certificate_authority_is_named(broker, new_ingest):
    """A broker that is not who it should be is refused, and the log says why."""
    with new_ingest(broker, KAFKA_CA_FILE="/etc/ssl/certs/ca-certificates.crt") as ingest:
        assert_refused_in_time(ingest, 1)
        assert ingest.get("/readyz")[0] == 503
        assert "certificate verify failed" in ingest.log()


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", None, "KAFKA_BOOTSTRAP_SERVERS is not set: host:port of the brokers"),
        ("INGEST_WORKERS", "many", "INGEST_WORKERS='many' is not a valid int"),
        ("INGEST_RATE", "0", "INGEST_RATE has to be above 0 and INGEST_BURST at least 1"),
        ("DATABASE_HOST", None, "DATABASE_HOST is not set: host name of PostgreSQL"),
        ("DATABASE_PASSWORD_FILE", "/nowhere", "DATABASE_PASSWORD_FILE=/nowhere cannot be read"),
        (
            "KAFKA_CERTIFICATE_FILE",
            "/nowhere.pem",
            "KAFKA_CERTIFICATE_FILE=/nowhere.pem cannot be read: make the certificates",
        ),
        ("INGEST_METRICS_PORT", "busy", "INGEST_METRICS_PORT={port} cannot be listened on: Address already in use"),
    ],
)
def test_wrong_setting_ends_the_start_with_one_line(broker, new_ingest, setting, value, line):
    """A missing or wrong setting stops the start with a line that names it."""
    command = new_ingest(broker).command
    environment = dict(command.environment) | {setting: value, "PYTHONPATH": str(REPOSITORY)}
    if value == "busy":
        environment[setting] = str(broker.port)
    result = subprocess.run(
        command.arguments,
        env={name: text for name, text in environment.items() if text is not None},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode != 0
    assert line.format(port=broker.port) in result.stderr
    assert "Traceback" not in result.stderr
