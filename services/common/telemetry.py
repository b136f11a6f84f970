"""Traces: one set-up for every service, by the standard OTEL_* variables, exported over OTLP/HTTP in the background.

Off without an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`), with `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`.
`OTEL_TRACES_SAMPLER` and its `_ARG` say what is recorded. An exporter that is away, slow or refuses costs the data path
nothing: spans wait in a queue of `OTEL_BSP_MAX_QUEUE_SIZE`, then the oldest are dropped; one line a minute tells of it.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

A span is an object that is passed along, from thread to thread if need be; what is not recorded costs next to nothing.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as RecordingSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, TraceIdRatioBased
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common import logs

__all__ = ["UNRECORDED", "Attributes", "Span", "SpanKind", "TraceChoice", "Tracing", "current_span"]

Attributes = Mapping[str, str | int | float | bool]

_WARNING_PERIOD_S: Final = 60.0
_CLOSE_WITHIN_S: Final = 2.0
_propagator: Final = TraceContextTextMapPropagator()

log = logging.getLogger(__name__)


class Span:
    """An operation from its start to `end`. Every method does nothing where the operation is not recorded.

    `traceparent` is what to hand on to the next service, None if there is nothing to hand on; `trace_id` is the trace
    to look up (32 hexadecimal digits), None if it is not recorded.
    """

    __slots__ = ("_span", "_tracer", "trace_id", "traceparent")

    def __init__(self, traceparent: str | None, tracer: Tracer | None = None, span: OtelSpan | None = None) -> None:
        self._tracer = tracer
        self._span = span
        self.traceparent: Final = traceparent
        self.trace_id: Final = None if span is None else f"{span.get_span_context().trace_id:032x}"

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a log line that is written about this operation."""
        return {"trace_id": self.trace_id} if self.trace_id else {}

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL, start_ns: int | None = None) -> "Span":
        """A part of this operation that begins now, or began at `start_ns` (ns since the epoch)."""
        if self._tracer is None or self._span is None:
            return self
        return _start(self._tracer, name, kind, set_span_in_context(self._span, Context()), start_ns)

    def link(self, traceparents: Iterable[str]) -> None:
        """Say that this operation works on what other traces have handed on."""
        if self._span is not None:
            for traceparent in traceparents:
                self._span.add_link(get_current_span(_context(traceparent)).get_span_context())

    def end(self, attributes: Attributes | None = None, *, error: str | None = None, end_ns: int | None = None) -> None:
        """It ends now, or ended at `end_ns`; `error` is one word for what went wrong. Without an end it never was."""
        if self._span is None:
            return
        if attributes:
            self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(end_ns)

    @contextmanager
    def part(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
    ) -> Iterator["Span"]:
        """A child for what happens within, active meanwhile; an exception marks it as failed."""
        child = self.child(name, kind)
        try:
            with child.active():
                yield child
        except Exception as error:
            child.end(attributes, error=type(error).__name__)
            raise
        child.end(attributes)

    @contextmanager
    def active(self) -> Iterator["Span"]:
        """Make it the `current_span` of this thread or task, whose log lines then bear its trace id."""
        before = logs.current_span.set(self)
        try:
            yield self
        finally:
            logs.current_span.reset(before)


UNRECORDED: Final = Span(None)


def current_span() -> Span:
    """The span that is active in this thread or task, `UNRECORDED` without one."""
    span = logs.current_span.get()
    return span if isinstance(span, Span) else UNRECORDED


@dataclass(frozen=True)
class TraceChoice:
    """Whether a new trace is to be recorded, by its id alone: the same answer in every process that this is sent to."""

    sampler: Sampler | None

    @property
    def is_on(self) -> bool:
        return self.sampler is not None

    def wants(self, name: str, trace_id: str, kind: SpanKind = SpanKind.INTERNAL) -> bool:
        """Whether the sampler wants the trace (32 hexadecimal digits) that begins with `name`."""
        return self.sampler is not None and _wants(self.sampler, Context(), int(trace_id, 16), name, kind)


class _Ids(RandomIdGenerator):
    """Random ids, but for a trace whose id is given."""

    def __init__(self) -> None:
        self.given: int | None = None

    def generate_trace_id(self) -> int:
        given, self.given = self.given, None
        return given or super().generate_trace_id()


class Tracing:
    """Makes the spans of one process. To be made after a fork: the exporter's thread does not survive one."""

    def __init__(self, service: str) -> None:
        """Reads the OTEL_* variables. Never fails and needs no receiver to be there."""
        self._tracer: Tracer | None = None
        if not _is_wanted(os.environ):
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        _limit_warnings()
        # What is to be recorded is decided here, before any object is made for it; so the provider records all it gets.
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._bound = _ratio_bound(os.environ)
        self._ids = _Ids()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=_resource(service), id_generator=self._ids, shutdown_on_exit=False
        )
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("services")

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    def begin(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        traceparent: str | None = None,
        *,
        always: bool = False,
    ) -> Span:
        """The first span of this process in a trace: a new one, or the one that another service has handed on.

        The sampler decides whether it is recorded, unless it is `always` (for a span that may be left without an end).
        """
        if self._tracer is None:
            return Span(traceparent) if traceparent else UNRECORDED
        context = _context(traceparent) if traceparent else None
        if always or self._is_sampled(name, kind, context):
            return _start(self._tracer, name, kind, context or Context(), None)
        return Span(traceparent) if traceparent else UNRECORDED

    def begin_known(self, name: str, kind: SpanKind, trace_id: str, start_ns: int) -> Span:
        """The first span of a trace whose id (32 hexadecimal digits) is known, recorded; it began at `start_ns`.

        For one thread alone.
        """
        if self._tracer is None:
            return UNRECORDED
        self._ids.given = int(trace_id, 16)
        return _start(self._tracer, name, kind, Context(), start_ns)

    @property
    def choice(self) -> TraceChoice:
        """What decides about traces whose ids are known."""
        return TraceChoice(self._sampler if self._tracer else None)

    def close(self) -> None:
        """Export what is left; a receiver that does not answer is waited for two seconds at most."""
        if self._tracer is not None:
            closer = threading.Thread(target=self._processor.shutdown, name="telemetry-close", daemon=True)
            closer.start()
            closer.join(_CLOSE_WITHIN_S)

    def _is_sampled(self, name: str, kind: SpanKind, context: Context | None) -> bool:
        if context is not None:
            return _wants(self._sampler, context, get_current_span(context).get_span_context().trace_id, name, kind)
        trace_id = self._ids.generate_trace_id()
        if self._bound is not None:  # the usual case, in a quarter of the time
            return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        return _wants(self._sampler, Context(), trace_id, name, kind)


def _wants(sampler: Sampler, context: Context, trace_id: int, name: str, kind: SpanKind) -> bool:
    return sampler.should_sample(context, trace_id, name, kind).decision is Decision.RECORD_AND_SAMPLE


def _ratio_bound(environ: Mapping[str, str]) -> int | None:
    """What the low 64 bits of a trace's id are below if a sampler by ratio records it; None for other samplers."""
    if environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() not in {"traceidratio", "parentbased_traceidratio"}:
        return None
    try:
        return TraceIdRatioBased(float(environ.get("OTEL_TRACES_SAMPLER_ARG", ""))).bound
    except ValueError:
        return None


def _start(tracer: Tracer, name: str, kind: SpanKind, context: Context, start_ns: int | None) -> Span:
    span = tracer.start_span(name, context, kind, start_time=start_ns)
    made = span.get_span_context()
    if not isinstance(span, RecordingSpan):
        return UNRECORDED  # OTEL_SDK_DISABLED
    return Span(f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}", tracer, span)


def _context(traceparent: str) -> Context:
    return _propagator.extract({"traceparent": traceparent}, Context())


def _is_wanted(environ: Mapping[str, str]) -> bool:
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return bool(endpoint) and not disabled and environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def _resource(service: str) -> Resource:
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    host = socket.gethostname()
    return Resource.create(
        {
            "service.name": name,
            "service.namespace": "sensor-stream",
            "service.instance.id": f"{host}-{os.getpid()}",
            "host.name": host,
        }
    )


def _limit_warnings() -> None:
    library = logging.getLogger("opentelemetry")
    library.handlers[:] = [_OnePerMinute(logging.WARNING)]
    library.propagate = False


class _OnePerMinute(logging.Handler):
    """What the library complains of, in our logs, at most one line a minute."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._next = 0.0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        self._next = now + _WARNING_PERIOD_S
        fields = {"left_out": self._left_out} if self._left_out else {}
        self._left_out = 0
        first_line = record.getMessage().partition("\n")[0]
        log.warning("traces are incomplete: %s", first_line, extra={"fields": fields})
