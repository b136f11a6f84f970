"""Traces as they leave a process: over real HTTP to a receiver that is there, away, slow, or refuses."""

import gc
import logging
import ssl
import time
import tracemalloc
from contextlib import suppress
from functools import partial

import pytest
from flask import Flask

from services.common import logs
from services.common.telemetry import UNRECORDED, SpanKind, Tracing, current_span
from services.dashboard import metrics
from services.dashboard.traces import register
from tests.compose_file import load
from tests.otlp import Receiver
from tests.ports import free_ports

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORDED = f"00-{TRACE}-{PARENT}-01"
NOT_RECORDED = f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture
def tracing(monkeypatch, receiver):
    """Makes the tracing of a service from OTEL_* variables, and closes it at the end."""
    made = []

    def make(**variables):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"} | variables
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(Tracing("ingest"))
        return made[-1]

    yield make
    receiver.release()
    for each in made:
        each.close()


def receive_and_publish(tracing, traceparent=None):
    """What ingest does with a message; the span that stands for the request, and what goes into the record."""
    request = tracing.begin("POST /sensor_data", SpanKind.SERVER, traceparent)
    publish = request.child("sensor-messages publish", SpanKind.PRODUCER)
    publish.end({"messaging.system": "kafka"})
    request.end({"http.response.status_code": 200})
    return request, publish.traceparent


def test_a_trace_arrives_as_it_was_made(tracing, receiver):
    """Service, names, kinds, attributes and the parent are those of the process that recorded them."""
    request, handed_on = receive_and_publish(tracing())
    child, parent = receiver.await_spans(
        lambda: receiver.spans(trace_id=request.trace_id)[1:2] and receiver.spans(), "2"
    )
    assert (parent.service, parent.name, parent.kind, parent.parent_id) == ("ingest", "POST /sensor_data", 2, "")
    assert (child.name, child.kind, child.parent_id) == ("sensor-messages publish", 4, parent.span_id)
    assert child.attributes == {"messaging.system": "kafka"}
    assert handed_on.split("-")[1:3] == [child.trace_id, child.span_id]
    assert parent.start_ns <= child.start_ns <= child.end_ns <= parent.end_ns


@pytest.fixture
def secure_receiver(certificates, monkeypatch):
    """One that wants a certificate, as Tempo does in the deployment."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # would count more than the exporter's own setting
        monkeypatch.delenv(name, raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "tempo.pem")
    with Receiver(context=context) as running:
        yield running


@pytest.mark.parametrize("principal", ["ingest", "stream", "dashboard"])
def test_traces_arrive_where_a_certificate_is_asked_for(tracing, certificates, secure_receiver, principal):
    """Each service shows the one that it has, by the variables of the deployment."""
    environment = load("compose.prod.yml")["services"][principal]["environment"]
    own = {"ca.crt": certificates / "ca.crt", "client.pem": certificates / f"{principal}.pem"}
    variables = {
        name: str(own[value.removeprefix("/run/secrets/")])
        for name, value in environment.items()
        if name.startswith("OTEL_") and value.startswith("/run/secrets/")
    }
    assert len(variables) == 3
    request, _ = receive_and_publish(tracing(OTEL_EXPORTER_OTLP_ENDPOINT=secure_receiver.endpoint, **variables))
    secure_receiver.await_spans(lambda: secure_receiver.spans(trace_id=request.trace_id)[1:], "both spans")


def test_the_senders_trace_is_continued(tracing, receiver):
    """A request with a trace context belongs to that trace, whatever the ratio says of new ones."""
    none = tracing(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    request, _ = receive_and_publish(none, RECORDED)
    assert request.trace_id == TRACE
    spans = receiver.await_spans(lambda: receiver.spans(parent_id=PARENT), "the request")
    assert spans[0].trace_id == TRACE


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
    ],
)
def test_what_is_not_recorded_costs_no_object(tracing, receiver, variables):
    """Switched off or not sampled, a request without a trace context has no span, no trace id and hands nothing on."""
    off = tracing(**variables)
    request, handed_on = receive_and_publish(off)
    assert request is UNRECORDED
    assert handed_on is None
    assert off.begin("POST /sensor_data", traceparent=NOT_RECORDED).child("publish").traceparent == NOT_RECORDED
    off.close()
    assert receiver.requests == 0


@pytest.mark.parametrize(
    ("sampler", "ratio", "fewest", "most"),
    [
        ("traceidratio", "0.25", 380, 620),  # six standard deviations to each side
        ("parentbased_traceidratio", "0.25", 380, 620),
        ("parentbased_traceidratio", "1", 2000, 2000),
        ("parentbased_always_on", "0.25", 2000, 2000),
        ("parentbased_always_off", "0.25", 0, 0),
    ],
)
def test_so_many_new_traces_are_recorded(tracing, sampler, ratio, fewest, most):
    """Of 2,000 requests without a trace context."""
    made = tracing(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=ratio)
    begun = [made.begin("POST /sensor_data") for _ in range(2000)]
    assert fewest <= sum(request is not UNRECORDED for request in begun) <= most


def test_a_span_links_to_other_traces(tracing, receiver):
    """A batch says of which traces it holds messages, and when its parts were, after the fact."""
    batch = tracing().begin("stream batch", always=True)
    batch.link([RECORDED])
    read = batch.child("read", start_ns=1_000)
    read.end(end_ns=2_000)
    batch.end()
    [arrived] = receiver.await_spans(lambda: receiver.spans(name="stream batch"), "the batch")
    [part] = receiver.spans(name="read")
    assert arrived.links == ((TRACE, PARENT),)
    assert (part.start_ns, part.end_ns, part.parent_id) == (1_000, 2_000, arrived.span_id)


def test_log_lines_bear_the_trace(tracing, capsys, monkeypatch, request):
    """Each line that is written while a span is active bears its trace id; lines after it do not."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    request.addfinalizer(partial(logging.getLogger().setLevel, logging.getLogger().level))
    logs.configure("ingest", "json")
    with tracing().begin("query").active() as span:
        assert current_span() is span
        logging.getLogger("x").warning("inside")
    logging.getLogger("x").warning("outside")
    inside, outside = capsys.readouterr().err.splitlines()
    assert span.trace_id in inside
    assert "trace_id" not in outside


def test_a_request_of_the_dashboard_with_its_queries(tracing, receiver):
    """What people wait for is one trace: the request, the callback in it, the query in that; a failed one is marked."""
    server = Flask("test")
    register(server, tracing())

    @server.get("/page")
    def page():
        with metrics.time_callback("news"):
            with metrics.time_query("windows"):
                pass
            with suppress(ValueError), metrics.time_query("broken"):
                raise ValueError
        return "here"

    answer = server.test_client().get("/page")
    [request] = receiver.await_spans(lambda: receiver.spans(name="GET /page"), "the request")
    [callback] = receiver.spans(name="callback news", parent_id=request.span_id)
    queries = receiver.spans(parent_id=callback.span_id)
    assert answer.headers["X-Trace-Id"] == request.trace_id
    assert [(query.name, query.failed) for query in queries] == [("query windows", False), ("query broken", True)]
    assert current_span() is UNRECORDED


def hold(receiver):
    receiver.hold()
    return receiver.endpoint


def refuse(receiver):
    receiver.status = 503
    return receiver.endpoint


def forbid(receiver):
    receiver.status = 403
    return receiver.endpoint


def be_away(_):
    return f"http://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def unfiltered(monkeypatch):
    """The library leaves out what it wrote within the same 20 s, here also what it wrote for another test."""
    monkeypatch.setattr(logging.getLogger("opentelemetry.sdk._shared_internal"), "filters", [])


@pytest.mark.parametrize("fault", [be_away, hold, refuse, forbid])
@pytest.mark.usefixtures("unfiltered")
def test_a_receiver_in_trouble_holds_nothing_up(tracing, receiver, caplog, fault):
    """Whatever the receiver does, no span waits for it, memory stays bounded, one line tells, and closing is quick."""
    broken = tracing(OTEL_EXPORTER_OTLP_ENDPOINT=fault(receiver), OTEL_BSP_MAX_QUEUE_SIZE="512")
    slowest = fill(broken, 600)
    tracemalloc.start()
    slowest = max(slowest, fill(broken, 4000))
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert slowest < 5, "a request waited for the receiver"
    assert kept < 4 << 20, "spans are kept without bound"
    began = time.monotonic()
    broken.close()
    assert time.monotonic() - began < 5
    told = [record for record in caplog.records if record.name == "services.common.telemetry"]
    assert len(told) == 1


def fill(tracing, requests):
    """Seconds that the slowest of these took."""
    slowest = 0.0
    for _ in range(requests):
        began = time.monotonic()
        receive_and_publish(tracing)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_spans_arrive_once_the_receiver_is_back(tracing, receiver):
    """After an outage of the receiver tracing goes on by itself."""
    receiver.status = 503
    made = tracing()
    receive_and_publish(made)
    receiver.status = 200
    request, _ = receive_and_publish(made)
    assert receiver.await_spans(lambda: receiver.spans(trace_id=request.trace_id), "the second request")
