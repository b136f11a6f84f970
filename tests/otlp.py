"""A receiver of traces over OTLP/HTTP that keeps what arrives and answers questions about it."""

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_S = 30


@dataclass(frozen=True)
class Span:
    """A span as it left a process. Ids are hexadecimal, times are ns since the epoch."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict
    links: tuple
    failed: bool


class Receiver:
    """A server on loopback; `status` is what it answers, `hold` makes it take requests and answer none.

    With a context of TLS it is spoken to over https.
    """

    def __init__(self, port=0, context=None):
        self.status = 200
        self.requests = 0
        self._spans = []
        self._answering = threading.Event()
        self._answering.set()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._scheme = "https" if context else "http"
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, name="otlp", daemon=True).start()
        return self

    def __exit__(self, *_):
        self.release()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self):
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def hold(self):
        self._answering.clear()

    def release(self):
        self._answering.set()

    def spans(self, **wanted):
        """The spans that have arrived and have these properties, oldest first."""
        with self._changed:
            spans = list(self._spans)
        return [span for span in spans if all(getattr(span, name) == value for name, value in wanted.items())]

    def await_spans(self, question, what, timeout_s=PATIENCE_S):
        """The first true answer of `question()`, asked again whenever spans arrive."""
        deadline = time.monotonic() + timeout_s
        while not (answer := question()):
            with self._changed:
                assert self._changed.wait(deadline - time.monotonic()), f"{what}: not within {timeout_s} s"
        return answer

    def _take(self, request):
        self.requests += 1
        self._answering.wait()
        if self.status == 200:
            spans = list(_read(ExportTraceServiceRequest.FromString(request)))
            with self._changed:
                self._spans += spans
                self._changed.notify_all()

    def _handler(receiver):  # noqa: N805  # the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                zipped = self.headers.get("Content-Encoding") == "gzip"
                receiver._take(gzip.decompress(body) if zipped else body)
                self.send_response(receiver.status if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler


def _read(request):
    for of_service in request.resource_spans:
        service = _attributes(of_service.resource.attributes)["service.name"]
        for of_scope in of_service.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
