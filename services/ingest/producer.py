"""Kafka: one idempotent producer per worker, and what becomes of each record."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from services.common.kafka import client_options
from services.ingest import metrics
from services.ingest.errors import IngestError
from services.ingest.log_limit import LimitedLog
from services.ingest.record import Record
from services.ingest.settings import IngestSettings

_PROBE_PERIOD_S: Final = 2.0
_PROBE_TIMEOUT_S: Final = 3.0
_TRIAL_S: Final = 5.0
_TOO_LARGE: Final = frozenset([KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE])

log = logging.getLogger("services.ingest")


Delivered = Callable[[IngestError | None], None]
"""Told once that a record is stored for good (None), or that this is not certain."""


class Publisher(Protocol):
    """Where records go."""

    def publish(self, record: Record, delivered: Delivered) -> None:
        """Send the record on its way; `delivered` is called by `poll`. Raises `IngestError` if it cannot be sent."""

    def poll(self) -> None:
        """Tell of the records that have been delivered since the last time. Never waits."""

    def checks(self) -> dict[str, str]:
        """Each check by its name: "ok", or one sentence that says what is wrong."""


class KafkaPublisher:
    """A `Publisher` to Kafka. To be made after the fork: librdkafka's threads do not survive one."""

    def __init__(self, settings: IngestSettings) -> None:
        """Raises `KafkaException` when the settings or the files they name cannot be used; needs no broker."""
        self._settings = settings
        self._errors = LimitedLog(period_s=10)
        self._stopped = threading.Event()
        self._failed = False
        self._fault: str | None = None
        self._kafka = "not reached yet"
        self._client = self._make_client()
        self._retired: Client | None = None
        self._made_at = time.monotonic()
        threading.Thread(target=self._watch, name="kafka-watch", daemon=True).start()

    def publish(self, record: Record, delivered: Delivered) -> None:
        """Produce the record. Its delivery is told within a second of the time that the settings give Kafka."""
        try:
            self._client.produce(
                record.topic,
                record.value,
                record.key,
                on_delivery=partial(self._report, delivered),
                headers=record.headers,
            )
        except BufferError:
            raise IngestError("queue_full") from None
        except KafkaException as error:
            raise self._refusal(error.args[0]) from None

    def poll(self) -> None:
        """Serve delivery reports and errors, of the producer before this one too."""
        for client in (self._client, self._retired):
            if client is not None:
                try:
                    client.poll(0)
                except KafkaException as error:  # how a fatal error is told
                    self._report_error(error.args[0])

    def checks(self) -> dict[str, str]:
        """Whether the brokers answered lately, and whether the producer can still be used."""
        on_trial = self._failed or time.monotonic() - self._made_at < _TRIAL_S
        return {"kafka": self._kafka, "producer": (on_trial and self._fault) or "ok"}

    def close(self) -> None:
        """Deliver what is queued, then stop."""
        self._stopped.set()
        with suppress(KafkaException):  # of a producer that has failed for good
            self._client.flush(self._settings.acknowledge_timeout_s)

    def _make_client(self) -> Client:
        settings = self._settings
        return Client(
            client_options(settings)
            | {
                "client.id": "ingest",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": settings.linger_ms,
                # Records that come while a request is on its way share the next one: no waiting at quiet times, and
                # large requests when there is much to send.
                "max.in.flight.requests.per.connection": 1,
                # A record that nobody waits for any more must not stay queued: its sender sends it again.
                "message.timeout.ms": int(settings.acknowledge_timeout_s * 1000),
                "message.max.bytes": 2 * settings.max_body_bytes,  # numbers may take more room when encoded again
                "queue.buffering.max.messages": settings.max_queued_records,
                "queue.buffering.max.kbytes": settings.max_queued_bytes >> 10,
                "reconnect.backoff.ms": 100,
                "reconnect.backoff.max.ms": 1000,
                "socket.connection.setup.timeout.ms": 5000,
                "socket.keepalive.enable": True,
                "socket.nagle.disable": True,
                # Its own lines would repeat what error_cb is told.
                "logger": logging.Logger("librdkafka", level=logging.CRITICAL + 1),
                "error_cb": self._report_error,
            }
        )

    def _report_error(self, error: KafkaError) -> None:
        metrics.record_kafka_error()
        if error.fatal():
            self._failed = True
            self._fault = f"failed for good: {error.str()}"
        self._errors.write(logging.ERROR, error.name(), f"kafka: {error.str()}")

    def _refusal(self, error: KafkaError) -> IngestError:
        if error.code() in _TOO_LARGE:
            return IngestError("body_too_large")
        self._errors.write(logging.ERROR, f"delivery {error.name()}", f"kafka did not take a record: {error.str()}")
        return IngestError("not_acknowledged")

    def _report(self, delivered: Delivered, error: KafkaError | None, _message: Message) -> None:
        delivered(None if error is None else self._refusal(error))

    def _watch(self) -> None:
        """Ask the brokers for the topic again and again, so that readiness is known without asking them.

        Puts a new producer in the place of one that failed.
        """
        while True:
            self._retired = None
            if self._failed:
                self._replace()
            metrics.record_queue(len(self._client))
            was, self._kafka = self._kafka, self._ask()
            if was != self._kafka:
                log.log(logging.INFO if self._kafka == "ok" else logging.WARNING, "kafka: %s", self._kafka)
            if self._stopped.wait(_PROBE_PERIOD_S):
                return

    def _replace(self) -> None:
        self._retired = self._client
        self._retired.purge()  # whoever waits for a report from it is told
        self._client = self._make_client()
        self._made_at = time.monotonic()
        self._failed = False
        metrics.record_producer_replaced()
        self._errors.write(logging.WARNING, "replaced", "kafka: made a new producer")

    def _ask(self) -> str:
        try:
            topics = self._client.list_topics(self._settings.topic, timeout=_PROBE_TIMEOUT_S).topics
        except KafkaException as error:
            return f"no answer from {self._settings.bootstrap_servers}: {error.args[0].str()}"
        fault = topics[self._settings.topic].error
        return "ok" if fault is None else f"topic {self._settings.topic}: {fault.str()}"
