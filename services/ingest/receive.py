"""From a request to an acknowledged record: the steps behind `POST /sensor_data`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.ingest import metrics
from services.ingest.admission import Admission
from services.ingest.errors import IngestError
from services.ingest.log_limit import log
from services.ingest.producer import Publisher
from services.ingest.record import make_record
from services.ingest.request import Environ, read_body, traceparent
from services.ingest.settings import IngestSettings


class Receiver:
    """Takes messages in, at most `max_in_flight` of them at a time."""

    def __init__(self, settings: IngestSettings, admission: Admission, publisher: Publisher) -> None:
        self._settings = settings
        self._admission = admission
        self._publisher = publisher
        self._slots = threading.Semaphore(settings.max_in_flight)

    def receive(self, environ: Environ, request_id: str) -> None:
        """Return once Kafka has acknowledged the request's message. Raises `IngestError` for every other outcome."""
        token = self._admission.sign_in(environ)
        with self._slot():
            body = read_body(environ, self._settings.max_body_bytes)
            record = make_record(body, token.header, traceparent(environ), self._settings)
            self._admission.admit(token, record.key.decode())
            self._publisher.publish(record)
        if record.readings is None:
            metrics.record_test_push()
            who = {"device": record.key.decode(), "token": token.name}
            log.info("test push received", extra={"fields": {"request": request_id, **who}})
        else:
            metrics.record_message_accepted(record.readings, len(record.value))

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Room for one more request, or an error at once, before its body is read."""
        if not self._slots.acquire(blocking=False):
            raise IngestError("overloaded")
        started = time.monotonic()
        metrics.record_request_started()
        try:
            yield
        finally:
            self._slots.release()
            metrics.record_request_ended(time.monotonic() - started)
