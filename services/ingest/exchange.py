"""Exchange: one request, from its head to its reply. Reads as the steps that a message takes."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from services.common.telemetry import UNRECORDED, Attributes, Span, SpanKind, Tracing
from services.ingest import metrics
from services.ingest.admission import Admission
from services.ingest.errors import Code, IngestError
from services.ingest.log_limit import LimitedLog
from services.ingest.producer import Publisher
from services.ingest.record import Record, make_record
from services.ingest.reply import ACCEPTED, Fields, Reply, refusal
from services.ingest.request import Environ, check_content, inflate_body, traceparent, wants_words
from services.ingest.settings import IngestSettings
from services.ingest.token_cache import Token

REQUEST_ID: Final = "X-Request-Id"

log = logging.getLogger("services.ingest")

Answer = Callable[[Reply], None]
Page = Callable[[Environ, bytes], Reply]
"""Answers a request with this environment and body. Raises `IngestError`."""


def new_request_id() -> str:
    """What a request is called in its reply, in the log and in its trace: a name, and no secret."""
    return f"{random.getrandbits(64):016x}"


class Desk:
    """What all exchanges of a worker share."""

    def __init__(self, settings: IngestSettings, admission: Admission, publisher: Publisher, tracing: Tracing) -> None:
        self.settings: Final = settings
        self.tracing: Final = tracing
        self.admission: Final = admission
        self.publisher: Final = publisher
        self.refusals: Final = LimitedLog(period_s=1)
        self.in_flight = 0

    @property
    def full(self) -> bool:
        """Whether as many messages are being handled as may be."""
        return self.in_flight >= self.settings.max_in_flight

    def refuse(self, error: IngestError, where: Mapping[str, Any], in_words: bool = False) -> Reply:
        """Count and log a refusal, and word its reply."""
        metrics.record_error(error.code)
        who = {"token": error.token} if error.token else {}
        self.refusals.write(logging.INFO, error.code, "refused", code=error.code, detail=error.detail, **who, **where)
        return refusal(error, in_words)


class Exchange:
    """A request that is to be answered, once, by whichever step ends it. All steps run in the thread of the server.

    `answer` is called with the reply. `open` is true until then; a body is only of use while it is.
    """

    def __init__(self, desk: Desk, environ: Environ, answer: Answer) -> None:
        self._desk = desk
        self._environ = environ
        self._answer = answer
        self._request_id = new_request_id()
        self._span = UNRECORDED
        self.open = True

    @classmethod
    def ended(cls, desk: Desk) -> "Exchange":
        """One that was answered without being begun."""
        exchange = cls(desk, {}, lambda _: None)
        exchange.open = False
        return exchange

    def begin(self) -> None:
        """Say what the head alone decides; the exchange is still open if the body is wanted."""
        self._step(self._begin)

    def receive(self, body: bytes) -> None:
        """Handle the body. The reply may come now or later."""
        self._step(self._receive, body)

    def refuse(self, error: IngestError) -> None:
        """End the exchange with an error, unless it has ended."""
        if not self.open:
            return
        where = self._log_fields | {"address": self._environ.get("REMOTE_ADDR")}
        self._finish(self._desk.refuse(error, where, wants_words(self._environ)), error.code)

    def _begin(self) -> None:
        """To be overridden. May raise `IngestError`."""

    def _receive(self, body: bytes) -> None:
        """To be overridden. May raise `IngestError`."""

    @property
    def _log_fields(self) -> dict[str, str]:
        return {"request": self._request_id, **self._span.fields}

    def _finish(self, reply: Reply, error: Code | None = None) -> None:
        """The one place where an exchange ends."""
        self.open = False
        own: Fields = ((REQUEST_ID, self._request_id),)
        if self._span.trace_id is not None:
            own += (("X-Trace-Id", self._span.trace_id),)
            self._span.end({"http.response.status_code": reply.status, "request.id": self._request_id}, error=error)
        self._answer(reply._replace(own=own))

    def _step(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step; whatever it raises is answered, never with a 500."""
        try:
            step(*arguments)
        except IngestError as error:
            self.refuse(error)
        except Exception:
            log.exception("unexpected error", extra={"fields": self._log_fields})
            self.refuse(IngestError("unexpected"))


class MessageExchange(Exchange):
    """`POST /sensor_data`: from a request to an acknowledged record."""

    def __init__(self, desk: Desk, environ: Environ, answer: Answer) -> None:
        super().__init__(desk, environ, answer)
        self._token: Token | None = None
        self._record: Record | None = None
        self._started = self._published = 0.0
        self._publishing: Span = UNRECORDED

    def _begin(self) -> None:
        self._token = self._desk.admission.sign_in(self._environ)
        self._span = self._desk.tracing.begin("POST /sensor_data", SpanKind.SERVER, traceparent(self._environ))
        check_content(self._environ)

    def _receive(self, body: bytes) -> None:
        if self._desk.full:
            raise IngestError("overloaded")
        assert self._token is not None
        self._desk.in_flight += 1
        self._started = time.monotonic()
        metrics.record_request_started()
        body = inflate_body(self._environ, body, self._desk.settings.max_body_bytes)
        self._record = make_record(body, self._token.header, self._desk.settings)
        self._desk.admission.admit(self._token, self._record.key.decode())
        self._publish(self._record)

    def _publish(self, record: Record) -> None:
        """Send the record on its way, with the trace that its reader is to go on with."""
        self._publishing = self._span.child(f"{record.topic} publish", SpanKind.PRODUCER)
        if self._publishing.traceparent is not None:
            record.headers.append(("traceparent", self._publishing.traceparent.encode()))
        self._published = time.monotonic()
        self._desk.publisher.publish(record, self._delivered)

    def _delivered(self, error: IngestError | None) -> None:
        """Kafka has the record, or that is not certain; too late for an exchange that was given up."""
        if not self.open:
            return
        if error is not None:
            self.refuse(error)
            return
        assert self._record is not None
        metrics.record_acknowledgement(time.monotonic() - self._published)
        if self._record.readings is None:
            self._note_test_push(self._record)
        else:
            metrics.record_message_accepted(self._record.readings, len(self._record.value))
        self._finish(ACCEPTED)

    def _note_test_push(self, record: Record) -> None:
        assert self._token is not None
        metrics.record_test_push()
        who = {"device": record.key.decode(), "token": self._token.name}
        log.info("test push received", extra={"fields": self._log_fields | who})

    def _finish(self, reply: Reply, error: Code | None = None) -> None:
        if self._started:
            self._desk.in_flight -= 1
            metrics.record_request_ended(time.monotonic() - self._started)
        if self._record is not None and self._publishing.trace_id is not None:
            size, topic = len(self._record.value), self._record.topic
            attributes: Attributes = {
                "messaging.system": "kafka",
                "messaging.destination.name": topic,
                "messaging.message.body.size": size,
            }
            self._publishing.end(attributes, error=error)
        super()._finish(reply, error)


class PageExchange(Exchange):
    """Anything else: answered at once."""

    def __init__(self, desk: Desk, environ: Environ, answer: Answer, page: Page) -> None:
        super().__init__(desk, environ, answer)
        self._page = page

    def _receive(self, body: bytes) -> None:
        self._finish(self._page(self._environ, body))
