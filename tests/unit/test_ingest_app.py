"""The HTTP surface of ingest, with a publisher that keeps what it is given in memory."""

import gzip
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


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_gzip_is_inflated(client, publisher, encoding):
    """A gzipped body is the same message as the plain one."""
    assert post(client, gzip.compress(USUAL), Content_Encoding=encoding).status_code == 200
    assert post(client, USUAL, Content_Encoding="identity").status_code == 200
    assert publisher.records[0] == publisher.records[1]


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        f"{JSON};",
        f"{JSON} ",
    ],
)
def test_json_types_are_accepted(client, content_type):
    """The ways to write application/json in UTF-8 are all accepted."""
    assert post(client, content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "x application/json",
    ],
)
def test_other_types_are_refused(client, publisher, content_type):
    """Any other or no content type is 415."""
    assert_refused(post(client, content_type=content_type), "wrong_content_type")
    assert publisher.records == []


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "chunked", "nonsense"])
def test_other_encodings_are_refused(client, encoding):
    """Any content encoding but gzip is 415."""
    assert_refused(post(client, Content_Encoding=encoding), "wrong_content_encoding")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(USUAL, id="not gzip"),
        pytest.param(gzip.compress(USUAL)[:-1], id="cut off"),
        pytest.param(gzip.compress(USUAL)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(USUAL) + b"more", id="more behind"),
        pytest.param(gzip.compress(USUAL[:99]) + gzip.compress(USUAL[99:]), id="two members"),
    ],
)
def test_bad_gzip_is_refused(client, body):
    """A body that is not one whole gzip stream is 400."""
    assert_refused(post(client, body, Content_Encoding="gzip"), "bad_gzip")


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


def padded(size):
    """A message of exactly `size` bytes."""
    message = {"deviceId": "d", "sessionId": "s", "payload": [], "later": ""}
    return json.dumps(message | {"later": "x" * (size - len(json.dumps(message)))}).encode()


LIMIT = SETTINGS.max_body_bytes


@pytest.mark.parametrize("encode", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("size", "accepted"), [(LIMIT, True), (LIMIT + 1, False), (20 * LIMIT, False)])
def test_body_is_limited_as_sent_and_inflated(client, encode, size, accepted):
    """A body up to the limit is accepted, one byte more is 413, before or after inflating."""
    headers = {"Content_Encoding": "gzip"} if encode is gzip.compress else {}
    answer = post(client, encode(padded(size)), **headers)
    if accepted:
        assert answer.status_code == 200
    else:
        assert_refused(answer, "body_too_large")


def test_compressed_body_is_limited_before_inflating(client):
    """A body too large as it is sent is 413, whatever it would inflate to."""
    assert_refused(post(client, b"\0" * (LIMIT + 1), Content_Encoding="gzip"), "body_too_large")


class Endless:
    """A body that never ends; counts what was taken of it."""

    taken = 0

    def read(self, size=-1):
        assert size > 0
        self.taken += size
        return b"x" * size


def test_endless_body_is_refused_and_left(client):
    """A body without end is 413 after a bounded amount has been read."""
    body = Endless()
    environ = {"wsgi.input": body, "wsgi.input_terminated": True}
    assert_refused(client.post("/sensor_data", content_type=JSON, environ_overrides=environ), "body_too_large")
    assert body.taken < 10 * LIMIT


def test_body_shorter_than_announced_is_refused(client, publisher):
    """A body that ends before its announced length is no message, even when it could be read as one."""
    environ = {"wsgi.input": BytesIO(USUAL), "CONTENT_LENGTH": str(len(USUAL) + 1)}
    assert_refused(client.post("/sensor_data", content_type=JSON, environ_overrides=environ), "body_incomplete")
    assert publisher.records == []


class Broken:
    """A body whose connection was lost."""

    def read(self, _size=-1):
        raise ConnectionResetError


def test_lost_connection_is_no_error_of_ours(client):
    """A connection lost in the middle of a body is counted as such."""
    environ = {"wsgi.input": Broken(), "CONTENT_LENGTH": "100"}
    assert_refused(client.post("/sensor_data", content_type=JSON, environ_overrides=environ), "body_incomplete")


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


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), None),
        (TRACE[:-1], None),
        (TRACE + "-more", None),
        ("ff" + TRACE[2:], None),
        ("00-" + "0" * 32 + TRACE[35:], None),
        (TRACE[:36] + "0" * 16 + "-01", None),
        ("", None),
    ],
)
def test_valid_trace_context_goes_with_the_record(client, publisher, sent, kept):
    """The record carries the request's trace context if it is a valid one."""
    assert post(client, traceparent=sent).status_code == 200
    assert publisher.records[0].headers == ([("traceparent", kept.encode())] if kept else [])


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
