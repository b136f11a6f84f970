"""The right alert fires in a real Prometheus when something really breaks, within its time, and resolves after it."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.processes import descendants, send
from tests.prometheus import Prometheus
from tests.system.stack import REPOSITORY, Stack, wait_until

pytestmark = pytest.mark.long
HEALTHY_WITHIN_S = 300


@pytest.fixture(scope="module")
def stack():
    """A stack of its own, to which phones send all the time."""
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-alerts-", dir="/tmp"))
    directory.chmod(0o755)
    running = Stack(directory / "data")
    try:
        running.start()
        running.simulate("--phones", 3, "--duration", 3600)
        yield running
    finally:
        running.kill_what_is_left()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def prometheus(stack):
    """The stack's Prometheus, once it has seen that all is well."""
    asked = Prometheus(stack.prometheus_url)
    wait_until(lambda: asked.samples("sum(increase(stream_records_total[1m])) > 10"), 120, "data flows")
    late = {"DataNotFresh", "DataNotFreshSlowly"}  # Spark's first batches are
    wait_until(lambda: not asked.alerts() - late, HEALTHY_WITHIN_S, "no other alert fires")
    return asked


@contextlib.contextmanager
def paused(stack, part):
    """The part and all that it has started hang meanwhile: connections stay open and nothing is answered."""
    pids = [stack.pid(part), *descendants(stack.pid(part))]
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)


def assert_fires(prometheus, expected, within_s):
    """All these alerts fire within their time."""
    began = time.monotonic()
    wait_until(lambda: expected <= prometheus.alerts(), within_s, f"{expected} fire, not {prometheus.alerts()}")
    print(f"{', '.join(sorted(expected))}: after {time.monotonic() - began:.0f} s")


def assert_resolves(prometheus, alerts, within_s=HEALTHY_WITHIN_S):
    """None of these alerts fires any more within the time."""
    began = time.monotonic()
    wait_until(lambda: not alerts & prometheus.alerts(), within_s, f"{alerts} resolve")
    print(f"{', '.join(sorted(alerts))}: resolved after {time.monotonic() - began:.0f} s")


def test_kafka_away(stack, prometheus):
    """A broker that hangs: Kafka is down, and ingest refuses."""
    with paused(stack, "kafka"):
        assert_fires(prometheus, {"KafkaDown", "IngestRefuses", "IngestUnavailable"}, 300)
    assert_resolves(prometheus, {"KafkaDown"})


def test_postgres_away(stack, prometheus):
    """A database that hangs: PostgreSQL is down, and the tokens grow old."""
    with paused(stack, "postgres"):
        assert_fires(prometheus, {"PostgresDown", "TokensOld"}, 240)
    assert_resolves(prometheus, {"PostgresDown", "TokensOld"})


def test_stream_away(stack, prometheus):
    """A stream that hangs: it does not answer, and what arrives is not stored."""
    with paused(stack, "stream"):
        assert_fires(prometheus, {"TargetMissing", "StreamStuck"}, 420)
    assert_resolves(prometheus, {"TargetMissing", "StreamStuck"})


def test_poison_in_kafka(stack, prometheus):
    """Records that are no messages: the rate of the quarantine."""
    certificate = str(stack.directory / "certificates" / "ingest.pem")
    producer = Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{stack.environment['KAFKA_PORT']}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(stack.directory / "certificates" / "ca.crt"),
            "ssl.certificate.location": certificate,
            "ssl.key.location": certificate,
        }
    )
    for number in range(500):
        producer.produce("sensor-messages", f"poison {number}".encode())
    assert producer.flush(30) == 0
    assert_fires(prometheus, {"QuarantineRate"}, 240)
    assert_resolves(prometheus, {"QuarantineRate"}, 900)


def test_certificate_approaches_its_end(stack, prometheus):
    """Certificates that end in ten days; new ones resolve it."""

    def make(*options):
        program = REPOSITORY / "ops" / "kafka-ssl" / "make-certificates"
        directory = stack.directory / "certificates"
        subprocess.run([program, "--directory", directory, *options], check=True, stdout=subprocess.DEVNULL)

    make("--days", "10", "--renew-days", "400")
    assert_fires(prometheus, {"CertificateEnds"}, 120)
    make()
    assert_resolves(prometheus, {"CertificateEnds"})
