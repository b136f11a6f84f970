"""The HTTP surface of ingest, with a publisher that keeps what it is given in memory."""

import json
import threading
from io import BytesIO
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.ingest.app import make_app
from services.ingest.errors import ANSWERS, IngestError
from services.ingest.settings import IngestSettings

SETTINGS = IngestSettings(
    bootstrap_servers="nowhere:1",
    kafka_ca_file=Path("ca"),
    kafka_certificate_file=Path("certificate"),
    max_body_bytes=20_000,
    max_readings=150,
    max_in_flight=2,
)
PAYLOADS = Path(__file__).parents[1] / "payloads"
USUAL = (PAYLOADS / "five-sensors.json").read_bytes()
JSON = "application/json"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class MemoryPublisher:
    """Keeps records, or fails as it is told to; `gate` holds publishing until it is set."""

    def __init__(self):
        self.records = []
        self.fault = None
        self.states = {"kafka": "ok", "producer": "ok"}
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Semaphore(0)

    def publish(self, record):
        self.waiting.release()
        self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        self.records.append(record)

    def checks(self):
        return self.states


@pytest.fixture
def publisher():
    return MemoryPublisher()


@pytest.fixture
def client(publisher):
    return make_app(SETTINGS, publisher).test_client()


def post(client, body=USUAL, content_type=JSON, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/sensor_data", data=body, content_type=content_type, headers=names)


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, labels)


def assert_refused(answer, code):
    """The answer is the code's status with its JSON body; only answers that ask to come back say when."""
    assert (answer.status_code, answer.json["error"]) == (ANSWERS[code].status, code)
    assert set(answer.json) == {"error", "detail"}
    assert answer.content_type == JSON
    assert answer.headers["X-Request-Id"]
    assert ("Retry-After" in answer.headers) is (answer.status_code == 503)


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_every_shape_becomes_one_record(client, publisher, path):
    """Each shape of message becomes one record of its device, test pushes on a topic of their own."""
    answer = post(client, path.read_bytes())
    assert (answer.status_code, answer.json, answer.content_type) == (200, {"status": "ok"}, JSON)
    [record] = publisher.records
    assert record.topic == ("test-pushes" if path.stem.startswith("test-push") else "sensor-messages")
    assert record.key.decode() == json.loads(path.read_bytes())["deviceId"]
    assert json.loads(record.value)["deviceId"] == record.key.decode()


def test_accepted_message_is_counted(client):
    """An accepted message counts as one message with its readings."""
    before = metric("ingest_messages_accepted_total"), metric("ingest_readings_accepted_total")
    post(client)
    after = metric("ingest_messages_accepted_total"), metric("ingest_readings_accepted_total")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 100)


def test_test_push_is_counted_and_logged_but_is_no_message(client, caplog):
    """A test push shows in log and metrics as what it is."""
    caplog.set_level("INFO")
    before = metric("ingest_test_pushes_total"), metric("ingest_messages_accepted_total")
    answer = post(client, (PAYLOADS / "test-push.json").read_bytes())
    after = metric("ingest_test_pushes_total"), metric("ingest_messages_accepted_total")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 0)
    [line] = caplog.records
    assert line.getMessage() == "test push received"
    assert line.fields["request"] == answer.headers["X-Request-Id"]


def test_test_push_that_is_not_acknowledged_fails(client, publisher):
    """A test push is answered with 200 only if Kafka takes it."""
    publisher.fault = IngestError("not_acknowledged")
    assert_refused(post(client, (PAYLOADS / "test-push.json").read_bytes()), "not_acknowledged")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (USUAL[:-5], "bad_json"),
        (b"\xff\xfe{\x00}\x00", "bad_json"),
        (b'{"deviceId": NaN}', "bad_json"),
        (b"[" * 15_000, "bad_json"),
        (b"[]", "bad_message"),
        (b"{}", "bad_message"),
    ],
)
def test_what_is_no_message_is_refused(client, publisher, caplog, body, code):
    """What is not a message is 400, counted by its code and logged with its request id, never with its content."""
    caplog.set_level("INFO")
    before = metric("ingest_errors_total", code=code)
    answer = post(client, body)
    assert_refused(answer, code)
    assert publisher.records == []
    assert metric("ingest_errors_total", code=code) == before + 1
    [line] = caplog.records
    assert line.fields["request"] == answer.headers["X-Request-Id"]
    assert line.fields["code"] == code


class Endless:
    """A body that never ends; counts what was taken of it."""

    taken = 0

    def read(self, size=-1):
        assert size > 0
        self.taken += size
        return b"x" * size


@pytest.mark.parametrize(("readings", "accepted"), [(0, True), (150, True), (151, False)])
def test_readings_are_limited(client, readings, accepted):
    """A message may have as many readings as the setting says."""
    reading = {"name": "s", "time": 1, "values": {}}
    answer = post(client, json.dumps({"deviceId": "d", "sessionId": "s", "payload": [reading] * readings}))
    if accepted:
        assert answer.status_code == 200
    else:
        assert_refused(answer, "too_many_readings")


@pytest.mark.parametrize("code", ["not_acknowledged", "queue_full", "body_too_large"])
def test_what_kafka_does_not_take_is_not_accepted(client, publisher, code):
    """A record that is not acknowledged is never answered with 200 nor counted as accepted."""
    publisher.fault = IngestError(code)
    before = metric("ingest_messages_accepted_total")
    assert_refused(post(client), code)
    assert metric("ingest_messages_accepted_total") == before


def test_unexpected_error_is_503_with_its_traceback_in_the_log(client, publisher, caplog):
    """A fault of our own is answered with 503, never 500, and logged with its traceback and request id."""
    publisher.fault = ZeroDivisionError("a fault of our own")
    answer = post(client)
    assert_refused(answer, "unexpected")
    assert b"fault of our own" not in answer.data
    [line] = caplog.records
    assert line.exc_info[0] is ZeroDivisionError
    assert line.fields["request"] == answer.headers["X-Request-Id"]
    assert metric("ingest_requests_in_flight") == 0


def test_more_requests_than_allowed_are_refused_at_once(client, publisher):
    """With all places taken a request is 503 before its body is read; a place that comes free is used again."""
    publisher.gate.clear()
    threads = [threading.Thread(target=post, args=[client.application.test_client()]) for _ in range(2)]
    for thread in threads:
        thread.start()
        publisher.waiting.acquire()
    assert metric("ingest_requests_in_flight") == 2
    unread = Endless()
    refused = client.post("/sensor_data", content_type=JSON, environ_overrides={"wsgi.input": unread})
    publisher.gate.set()
    for thread in threads:
        thread.join()
    assert_refused(refused, "overloaded")
    assert unread.taken == 0
    assert post(client).status_code == 200
    assert len(publisher.records) == 3


def test_trace_context_goes_with_the_record(client, publisher):
    """The record carries the request's trace context if it has one."""
    post(client, traceparent=TRACE)
    post(client)
    assert [record.headers for record in publisher.records] == [[("traceparent", TRACE.encode())], []]


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"CONTENT_TYPE": "text/plain"}, "wrong_content_type"),
        ({"HTTP_CONTENT_ENCODING": "br"}, "wrong_content_encoding"),
        ({"HTTP_CONTENT_ENCODING": "gzip"}, "bad_gzip"),
        ({"CONTENT_LENGTH": str(SETTINGS.max_body_bytes + 1)}, "body_too_large"),
        ({"CONTENT_LENGTH": str(len(USUAL) + 1)}, "body_incomplete"),
    ],
)
def test_unreadable_request_is_refused(client, publisher, environ, code):
    """A request whose body cannot or may not be read has the answer of its code, and nothing is stored."""
    sent = {"CONTENT_TYPE": JSON, "wsgi.input": BytesIO(USUAL)} | environ
    assert_refused(client.post("/sensor_data", environ_overrides=sent), code)
    assert publisher.records == []


@pytest.mark.parametrize("path", ["/", "/sensor_data/", "/nothing", "/sensor_data%00", "//sensor_data"])
def test_unknown_address_is_404(client, path):
    """Any other address is 404, as JSON."""
    assert_refused(client.post(path), "not_found")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_other_method_is_405(client, method):
    """Only POST is taken, and the answer says so."""
    answer = client.open("/sensor_data", method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("host", ["", "a b", "\xff", "[::1", "a:b:c", "x" * 5000])
def test_strange_host_is_answered(client, host):
    """A Host header that is no host name never costs a 500."""
    answer = client.post("/sensor_data", data=USUAL, content_type=JSON, headers={"Host": host})
    assert answer.status_code in {200, 400}


def test_livez_needs_nothing(client, publisher):
    """The process is alive whatever Kafka does."""
    publisher.states["kafka"] = "no answer"
    assert client.get("/livez").status_code == 200


def test_readyz_names_its_checks(client, publisher):
    """Readiness is 200 while every check is ok, else 503 with what is wrong under the check's name."""
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json) == (200, {"status": "ok", "checks": {"kafka": "ok", "producer": "ok"}})
    publisher.states["kafka"] = "no answer"
    away = client.get("/readyz")
    assert (away.status_code, away.json["status"], away.json["checks"]["kafka"]) == (503, "unavailable", "no answer")


def test_request_ids_differ(client):
    """Each request has an id of its own."""
    assert len({post(client).headers["X-Request-Id"] for _ in range(20)}) == 20
