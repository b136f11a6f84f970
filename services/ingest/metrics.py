"""Ingest's metrics: each declared here, each behind a verb, so that no caller invents a name or a label.

Workers count together, in the directory that `PROMETHEUS_MULTIPROC_DIR` names, and any of them answers for all.
"""

import math
import socket
import struct
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from services.common import metrics_port
from services.ingest.errors import ANSWERS, Code

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 2097152)

_messages = Counter("ingest_messages_accepted", "Messages that Kafka acknowledged")
_readings = Counter("ingest_readings_accepted", "Readings of the messages that Kafka acknowledged")
_test_pushes = Counter("ingest_test_pushes", "Test pushes that Kafka acknowledged")
_errors = Counter("ingest_errors", "Requests that were not answered with 200, by code", ["code"])
_body_bytes = Histogram("ingest_message_bytes", "Sizes of the records of accepted messages", buckets=_BYTES)
_request_seconds = Histogram("ingest_request_seconds", "From a message's last byte to its answer", buckets=_SECONDS)
_acknowledge_seconds = Histogram("ingest_acknowledge_seconds", "Waits for Kafka's acknowledgement", buckets=_SECONDS)
_in_flight = Gauge("ingest_requests_in_flight", "Messages being handled", multiprocess_mode="livesum")
_connections = Gauge("ingest_connections", "Open connections", multiprocess_mode="livesum")
_queued = Gauge(
    "ingest_queued_records",
    "Records that the producers hold until Kafka acknowledges them",
    multiprocess_mode="livesum",
)
_kafka_errors = Counter("ingest_kafka_errors", "Faults that the Kafka client reported")
_tokens_read = Gauge(
    "ingest_tokens_read_timestamp_seconds",
    "When the worker with the oldest tokens read them; 0: not yet",
    multiprocess_mode="livemin",
)
_producers = Counter("ingest_producers_replaced", "Producers replaced after a fatal error")

_errors_of = {code: _errors.labels(code) for code in ANSWERS}
"""Shown as 0 from the start: an increase from nothing would not be seen."""


def serve(listener: socket.socket, password: str) -> None:
    """Tell those of all workers on the metrics' socket, which workers share."""
    _in_flight.inc(0)  # makes this worker's files now and not while somebody reads them
    registry = CollectorRegistry()
    registry.register(_AllWorkers())
    metrics_port.serve(listener, password, registry)


class _AllWorkers(Collector):
    """The sums over all workers, those that have ended included."""

    def __init__(self) -> None:
        self._files = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # published without types

    def collect(self) -> Iterable[Metric]:
        try:
            return self._sum()
        except struct.error:  # another worker starts and has just made an empty file
            return self._sum()

    def _sum(self) -> list[Metric]:
        return list(self._files.collect())  # type: ignore[no-untyped-call]


def record_message_accepted(readings: int, size: int) -> None:
    """Count a message that was answered with 200."""
    _messages.inc()
    _readings.inc(readings)
    _body_bytes.observe(size)


def record_test_push() -> None:
    """Count a test push that was answered with 200."""
    _test_pushes.inc()


def record_error(code: Code) -> None:
    """Count an answer that is not 200."""
    _errors_of[code].inc()


def record_request_started() -> None:
    """A message has come whole and is being handled from now on."""
    _in_flight.inc()


def record_request_ended(seconds: float) -> None:
    """A message has been handled, whatever the answer."""
    _in_flight.dec()
    _request_seconds.observe(seconds)


def record_connections(number: int) -> None:
    """So many connections are open."""
    _connections.set(number)


def record_acknowledgement(seconds: float) -> None:
    """A record was acknowledged."""
    _acknowledge_seconds.observe(seconds)


def record_queue(records: int) -> None:
    """So many records are not acknowledged yet."""
    _queued.set(records)


def record_kafka_error() -> None:
    """The Kafka client reported a fault of a connection or of itself."""
    _kafka_errors.inc()


def record_producer_replaced() -> None:
    """A producer failed for good and has a successor."""
    _producers.inc()


def record_tokens_read() -> None:
    """The tokens are those that PostgreSQL holds now."""
    _tokens_read.set_to_current_time()


def record_no_tokens_needed() -> None:
    """This process answers no requests: it is not one that has yet to read the tokens."""
    _tokens_read.set(math.inf)
