"""What an operator sees of the running stack: metrics, dashboards, alerts, traces. Asked of a real Prometheus."""

import contextlib
import json
import re
import time
import urllib.request

import pytest

from tests.ports import free_ports
from tests.prometheus import Prometheus, metrics_of, panel_expressions, rule_expressions, rules, sql_statements
from tests.system.stack import REPOSITORY, wait_until

JOBS = {"edge", "ingest", "kafka", "stream", "spark", "postgres", "dashboard", "node", "prometheus"}
MINUTE_S = 75
SAMPLED_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

WITHOUT_SAMPLES = {
    "dashboard_callback_seconds": "nobody has looked at a page",
    "dashboard_exports_total": "nobody has exported",
    "dashboard_sign_ins_total": "nobody has signed in",
    "dashboard_requests_refused_total": "nothing has been refused",
    "dashboard_query_failures_total": "no query has failed",
    "stream_housekeeping_failures_total": "nothing has failed",
}
"""Metrics that have no sample before something has happened."""

EMPTY_WHEN_HEALTHY = {
    "Ingest: Refused by us": "no 503",
    "Ingest: Refusals by code": "no refusal in the last minute",
    "Pipeline: Refusals": "no refusal in the last minute",
    "Dashboard service: Slowest answer": "nobody has looked at a page",
    "Dashboard service: Time of a callback": "nobody has looked at a page",
    "Dashboard service: Callbacks": "nobody has looked at a page",
    "Dashboard service: Query failures": "no query has failed",
    "Dashboard service: Sign-ins": "nobody has signed in",
    "Dashboard service: Refused": "nothing has been refused",
    "Stream: Housekeeping failures": "nothing has failed",
    "Resources and certificates: Edge's certificate ends in": "no blackbox exporter runs here",
}
"""Panels that may be empty, and why."""


@pytest.fixture(scope="module")
def prometheus(stack):
    """The stack's Prometheus, after a minute of phones that send, repeat, and have wrong clocks."""
    options = ["--phones", 3, "--duration", MINUTE_S, "--duplicates", 0.1, "--wrong-clocks", 0.05, "--seed", 11]
    assert stack.simulate(*options).wait(timeout=180) == 0
    return Prometheus(stack.prometheus_url)


def test_every_target_is_found_and_up(prometheus):
    """Prometheus finds every part that runs here and is answered by it."""
    targets = prometheus.ask("targets")["activeTargets"]
    assert {target["labels"]["job"]: target["health"] for target in targets} == dict.fromkeys(JOBS, "up")


def test_every_declared_metric_is_scraped(prometheus):
    """After a minute of phones every metric of the reference page has a sample."""
    told = set(prometheus.ask("label/__name__/values"))
    missing = {name for name in declared() if name not in told and f"{name}_count" not in told}
    assert {name for name in missing if not name.startswith("simulator_")} - WITHOUT_SAMPLES.keys() == set()


def test_simulator_tells_what_it_declares(stack):
    """The simulator is no part of the deployment; whoever runs it may ask it."""
    [port] = free_ports(1)
    simulator = stack.simulate("--phones", 1, "--duration", 5, "--metrics-port", port)

    def told():
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page,
        ):
            text = page.read().decode()
            return all(f"\n{name}" in text for name in declared() if name.startswith("simulator_"))

    wait_until(told, 30, "the simulator tells of its posts")
    assert simulator.wait(timeout=60) == 0


def ours(expression):
    """The metrics of our services in an expression, without the endings of histograms."""
    names = {name for name in metrics_of(expression) if name.startswith(("ingest_", "stream_", "dashboard_"))}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def declared():
    """The metrics of the reference page."""
    page = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) ", page, re.MULTILINE))


def test_every_panel_shows_something(prometheus):
    """Each expression of each panel returns data, or is listed with the reason why it need not."""
    asked = [one for one in panel_expressions() if ours(one.text) <= declared()]  # others fail a unit test
    empty = {one.where for one in asked if not prometheus.samples(one.text)}
    assert empty - EMPTY_WHEN_HEALTHY.keys() == set()


def test_every_rule_is_evaluated(prometheus):
    """No rule has an error; the recorded ones have data, and nothing fires while all is well."""
    groups = prometheus.ask("rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {
        one.where for one in rule_expressions() if one.where in recorded and not prometheus.samples(one.text)
    } == set()
    seen = {"QuarantineRate", "DataNotFresh", "DataNotFreshSlowly"}  # wrong clocks, and a machine that is busy
    assert prometheus.alerts() - seen == set()


@pytest.mark.parametrize("statement", list(sql_statements()), ids=lambda statement: statement.where)
def test_every_sql_panel_is_answered(stack, prometheus, statement):  # noqa: ARG001  # after its minute of phones
    """The role that Grafana has may ask it, and gets rows."""
    text = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > now() - interval '1 hour'", statement.text)
    with contextlib.closing(stack.database("grafana_reader")) as connection, connection.cursor() as cursor:
        cursor.execute(text)
        assert cursor.fetchall()


def test_no_series_names_what_phones_send(stack, prometheus):
    """No label of any part holds a device, a session, a token or a sensor: names that phones choose cost nothing."""
    sent = {
        name
        for column, table in (("device", "device"), ("session", "session"), ("sensor", "series"))
        for (name,) in stack.query(f"SELECT DISTINCT {column} FROM {table}")
    }
    series = prometheus.ask("series", **{"match[]": '{job=~"edge|ingest|stream|dashboard|kafka|postgres"}'})
    values = {value for labels in series for value in labels.values()}
    assert len(sent) > 10
    assert values & (sent | {"simulator", "curl"}) == set()


def post(stack, traceparent):
    """Send a message in a trace of its own; the answer's headers."""
    reading = {"name": "accelerometer", "time": time.time_ns() // 256 * 256, "values": {"x": 1.0}}
    body = {"messageId": 0, "sessionId": "traced", "deviceId": "traced", "payload": [reading]}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {stack.token_file('curl').read_text().strip()}",
        "traceparent": traceparent,
    }
    request = urllib.request.Request(stack.ingest_url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return answer.headers


def test_trace_is_complete_from_post_to_row(stack, traces):
    """From the phone's POST over the record and its micro-batch to the row: what left the processes hangs together."""
    answer = post(stack, f"00-{SAMPLED_TRACE}-00f067aa0ba902b7-01")
    assert answer["X-Trace-Id"] == SAMPLED_TRACE

    def find_batch():
        links = {(publish.trace_id, publish.span_id) for publish in traces.spans(name="sensor-messages publish")}
        return [one for one in traces.spans(name="stream batch") if {*one.links} & links & {*_of(SAMPLED_TRACE)}]

    def _of(trace_id):
        return [(span.trace_id, span.span_id) for span in traces.spans(trace_id=trace_id)]

    [batch] = traces.await_spans(find_batch, "the batch of the message", timeout_s=90)
    [request] = traces.spans(service="ingest", name="POST /sensor_data", trace_id=SAMPLED_TRACE)
    [publish] = traces.spans(service="ingest", name="sensor-messages publish", trace_id=SAMPLED_TRACE)
    assert (request.parent_id, publish.parent_id) == ("00f067aa0ba902b7", request.span_id)
    assert request.start_ns <= publish.start_ns <= publish.end_ns <= request.end_ns
    parts = {span.name for span in traces.spans(service="stream", trace_id=batch.trace_id)}
    assert parts == {"stream batch", "read", "decode", "store batch", "lock", "aggregate", "write"}
    stores = traces.spans(name="store batch", trace_id=batch.trace_id, parent_id=batch.span_id)
    rows = stack.query("SELECT partition::text, offset_from FROM batch WHERE trace_id = %s", [batch.trace_id])
    where = [
        (one.attributes["messaging.destination.partition.id"], one.attributes["batch.offset_from"]) for one in stores
    ]
    assert sorted(where) == sorted(rows)


def test_requests_of_the_dashboard_are_spans(stack, traces):
    """A request that somebody else has sampled is recorded, here that of a page which leads on to the sign-in."""
    trace_id = SAMPLED_TRACE[::-1]
    request = urllib.request.Request(
        f"{stack.dashboard_url}/",
        headers={"Accept": "text/html", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        assert answer.headers["X-Trace-Id"] == trace_id
    spans = wait_until(lambda: traces.spans(service="dashboard", trace_id=trace_id), 30, "the page's span")
    assert spans[-1].attributes["http.response.status_code"] == 200


def test_exemplars_lead_to_traces(prometheus, traces):
    """The points on the charts of micro-batches bear ids of traces that have arrived."""
    now = time.time()
    found = prometheus.ask("query_exemplars", query="stream_batch_seconds_bucket", start=now - 600, end=now)
    ids = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
    assert ids & {span.trace_id for span in traces.spans(name="stream batch")}
