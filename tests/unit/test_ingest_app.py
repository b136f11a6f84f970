"""The HTTP surface of ingest, with a publisher that keeps what it is given in memory."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from werkzeug.test import Client

from services.common.telemetry import Tracing
from services.common.tokens import digest
from services.ingest.admission import Admission
from services.ingest.app import Service
from services.ingest.errors import ANSWERS, IngestError
from services.ingest.rate import RateLimit
from services.ingest.record import make_record
from services.ingest.server import Server
from services.ingest.settings import IngestSettings
from services.ingest.token_cache import TokenCache, TokenRow

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
TOKENS = [
    TokenRow(1, "everybody", digest("shared-word"), None, 0, True, None, False),
    TokenRow(2, "own", digest("own-word"), None, 0, False, None, False),
    TokenRow(3, "other phone", digest("bound-word"), None, 0, False, "another", False),
    TokenRow(4, "lost", digest("revoked-word"), None, 0, True, None, True),
]
READING = {"name": "s", "time": 1, "values": {}}
TOO_MANY = {"deviceId": "d", "sessionId": "s", "payload": [READING] * 151}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class MemoryPublisher:
    """Keeps records and acknowledges them when polled, unless told to hold back or to fail."""

    def __init__(self):
        self.records = []
        self.fault = None
        self.states = {"kafka": "ok", "producer": "ok"}
        self.holds_back = False
        self._undelivered = []

    def publish(self, record, delivered):
        if self.fault is not None and not isinstance(self.fault, IngestError):
            raise self.fault
        self.records.append(record)
        self._undelivered.append(delivered)

    def poll(self):
        if not self.holds_back:
            delivered, self._undelivered = self._undelivered, []
            for tell in delivered:
                tell(self.fault)

    def checks(self):
        return self.states


class Asker:
    """Asks a service as the server does, on behalf of werkzeug's client."""

    def __init__(self, service):
        self.service = service

    def __call__(self, environ, start_response):
        replies = []
        environ.setdefault("HTTP_AUTHORIZATION", "Bearer shared-word")
        exchange = self.service.begin(environ, replies.append)
        if exchange.open:
            exchange.receive(environ["wsgi.input"].read())
        self.service.poll()
        [reply] = replies
        start_response(f"{reply.status} -", [*reply.fields, *reply.own])
        return [reply.body]


@pytest.fixture
def publisher():
    return MemoryPublisher()


@pytest.fixture
def tokens():
    cache = TokenCache()
    cache.load(TOKENS)
    return cache


@pytest.fixture
def new_client(publisher, tokens):
    """Makes a client of a service with settings of its own; it sends the shared token where nothing else is said."""

    def make(**other):
        settings = dataclasses.replace(SETTINGS, **other)
        limit = RateLimit(settings.rate, settings.burst, clock=lambda: 0.0)
        return Client(Asker(Service(settings, Admission(settings, tokens, limit), publisher, Tracing("ingest"))))

    return make


@pytest.fixture
def client(new_client):
    return new_client()


def post(client, body=USUAL, content_type=JSON, path="/sensor_data", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, content_type=content_type, headers=names)


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, labels)


def assert_refused(answer, code):
    """The answer is the code's status with its JSON body; only answers that ask to come back say when."""
    assert (answer.status_code, answer.json["error"]) == (ANSWERS[code].status, code)
    assert set(answer.json) == {"error", "detail"}
    assert answer.content_type == JSON
    assert answer.headers["X-Request-Id"]
    assert ("Retry-After" in answer.headers) is (answer.status_code in {429, 503})
    assert ("WWW-Authenticate" in answer.headers) is (answer.status_code == 401)


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


@pytest.mark.parametrize(("readings", "accepted"), [(0, True), (150, True), (151, False)])
def test_readings_are_limited(client, readings, accepted):
    """A message may have as many readings as the setting says."""
    answer = post(client, json.dumps(TOO_MANY | {"payload": [READING] * readings}))
    if accepted:
        assert answer.status_code == 200
    else:
        assert_refused(answer, "too_many_readings")


def test_parts_are_limited():
    """A body that is made of so many small lists that decoding it would hold everybody up is not decoded."""
    reading = {"name": "s", "time": 1, "values": {"x": [[]] * 99_990}}
    body = json.dumps({"deviceId": "d", "sessionId": "s", "payload": [reading]}).encode()
    assert make_record(body, b"1", SETTINGS).readings == 1
    with pytest.raises(IngestError, match="more objects and lists") as refused:
        make_record(body.replace(b"[[]", b"[[],[],[],[],[],[],[],[]", 1), b"1", SETTINGS)
    assert refused.value.code == "bad_message"


@pytest.mark.parametrize("code", ["not_acknowledged", "queue_full", "body_too_large"])
def test_what_kafka_does_not_take_is_not_accepted(client, publisher, code):
    """A record that is not acknowledged is never answered with 200 nor counted as accepted."""
    publisher.fault = IngestError(code)
    before = metric("ingest_messages_accepted_total")
    assert_refused(post(client), code)
    publisher.poll()
    assert metric("ingest_messages_accepted_total") == before


def test_unexpected_error_is_503_with_its_traceback_in_the_log(client, publisher, caplog):
    """A fault of our own is answered with 503, never 500, and logged with its traceback and request id."""
    publisher.fault = ZeroDivisionError("a fault of our own")
    answer = post(client)
    assert_refused(answer, "unexpected")
    assert b"fault of our own" not in answer.data
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert line.exc_info[0] is ZeroDivisionError
    assert line.fields["request"] == answer.headers["X-Request-Id"]
    assert metric("ingest_requests_in_flight") == 0


def test_more_messages_than_allowed_are_refused_at_once(client, publisher):
    """With all places taken a request is 503 before its body is read; a place that comes free is used again."""
    publisher.holds_back = True
    first = [begin(client) for _ in range(2)]
    for exchange, replies in first:
        exchange.receive(USUAL)
        assert replies == []
    assert metric("ingest_requests_in_flight") == 2
    refused, replies = begin(client)
    assert not refused.open
    assert [reply.status for reply in replies] == [503]
    assert len(publisher.records) == 2
    publisher.holds_back = False
    client.application.service.poll()
    assert [[reply.status for reply in replies] for _, replies in first] == [[200], [200]]
    assert metric("ingest_requests_in_flight") == 0
    assert post(client).status_code == 200


def test_places_are_taken_by_whole_messages_only(client, publisher):
    """Clients whose bodies are still on their way do not keep others out; who is too many in the end is told so."""
    slow = [begin(client) for _ in range(10)]
    assert post(client).status_code == 200
    publisher.holds_back = True
    for exchange, _ in slow:
        exchange.receive(USUAL)
    assert [[reply.status for reply in replies] for _, replies in slow] == [[]] * 2 + [[503]] * 8
    publisher.holds_back = False
    client.application.service.poll()
    assert [reply.status for _, replies in slow[:2] for reply in replies] == [200, 200]


def test_request_that_waited_too_long_for_its_turn_is_refused(client):
    """Under too much load a request is refused before anything is done for it, whoever sends it."""
    refused, [reply] = begin(client, late=True)
    assert (refused.open, reply.status) == (False, 503)
    assert json.loads(reply.body)["error"] == "overloaded"


@pytest.mark.parametrize(
    ("seconds", "stopping", "path", "is_refused"),
    [
        (0.36, False, b"/sensor_data", True),
        (0.34, False, b"/sensor_data", False),
        (0.36, True, b"/sensor_data", False),
        (0.36, False, b"/livez", False),
    ],
)
def test_message_that_waited_too_long_is_turned_away(client, seconds, stopping, path, is_refused):
    """In one step, but for what needs thought: other addresses, and connections that are to end with the answer."""
    reply = turn_away(client, seconds, path, stopping)
    assert (reply is not None) == is_refused
    assert not is_refused or reply.startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(("forwarded", "address"), [(True, "203.0.113.9"), (False, "172.18.0.2")])
def test_log_tells_who_was_turned_away(new_client, caplog, forwarded, address):
    """Behind the edge it is whom the edge names."""
    caplog.set_level("INFO")
    turn_away(new_client(trust_forwarded_for=forwarded), 0.36)
    [line] = caplog.records
    assert (line.fields["code"], line.fields["address"]) == ("overloaded", address)


def test_late_acknowledgement_changes_nothing(client, publisher):
    """An exchange that was given up is answered once, and what comes later for it is not counted as accepted."""
    publisher.holds_back = True
    exchange, replies = begin(client)
    exchange.receive(USUAL)
    exchange.refuse(IngestError("not_acknowledged"))
    before = metric("ingest_messages_accepted_total")
    publisher.holds_back = False
    client.application.service.poll()
    assert [reply.status for reply in replies] == [503]
    assert metric("ingest_messages_accepted_total") == before
    assert metric("ingest_requests_in_flight") == 0


def test_token_and_trace_context_go_with_the_record(client, publisher):
    """The record carries the id of its token, and the request's trace context if it has one."""
    post(client, traceparent=TRACE)
    post(client)
    trace, token = ("traceparent", TRACE.encode()), ("token-id", b"1")
    assert [record.headers for record in publisher.records] == [[token, trace], [token]]


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"CONTENT_TYPE": "text/plain"}, "wrong_content_type"),
        ({"HTTP_CONTENT_ENCODING": "br"}, "wrong_content_encoding"),
        ({"HTTP_CONTENT_ENCODING": "gzip"}, "bad_gzip"),
    ],
)
def test_unreadable_request_is_refused(client, publisher, environ, code):
    """A request whose body cannot or may not be read has the answer of its code, and nothing is stored."""
    assert_refused(client.post("/sensor_data", data=USUAL, environ_overrides={"CONTENT_TYPE": JSON} | environ), code)
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
    checks = {"kafka": "ok", "producer": "ok", "tokens": "ok"}
    assert (ready.status_code, ready.json) == (200, {"status": "ok", "checks": checks})
    publisher.states["kafka"] = "no answer"
    away = client.get("/readyz")
    assert (away.status_code, away.json["status"], away.json["checks"]["kafka"]) == (503, "unavailable", "no answer")


def test_request_ids_differ(client):
    """Each request has an id of its own."""
    assert len({post(client).headers["X-Request-Id"] for _ in range(20)}) == 20


def turn_away(client, seconds, path=b"/sensor_data", stopping=False):
    """What a server says to a request that came whole, so many seconds after its turn began."""
    with os.fdopen(os.eventfd(0)) as wake:
        server = Server([], client.application.service, wake.fileno())
    server.now, server.stopping = seconds, stopping  # the turn began at 0
    head = b"POST %s HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Length: 2\r\n\r\n" % path
    return server.turn_away(head + b"{}", "172.18.0.2")


def message_of(device):
    return json.dumps({"deviceId": device, "sessionId": "s", "payload": []})


def begin(client, late=False, **environ):
    """The exchange of a request whose head alone has come, and the list that its reply will be in."""
    head = {"REQUEST_METHOD": "POST", "PATH_INFO": "/sensor_data", "CONTENT_TYPE": JSON, "REMOTE_ADDR": "127.0.0.1"}
    replies = []
    given = head | {"HTTP_AUTHORIZATION": "Bearer shared-word"} | environ
    return client.application.service.begin(given, replies.append, late), replies


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "no_token"),
        ("Bearer guess", "wrong_token"),
        ("Basic guess", "wrong_token"),
        ("guess", "wrong_token"),
        ("Bearer revoked-word", "token_revoked"),
    ],
)
def test_who_may_not_send_is_refused_before_the_body_is_read(client, publisher, caplog, header, code):
    """Without a valid token nothing is read or stored; the log has the address, and nothing of what was sent."""
    caplog.set_level("INFO")
    before = metric("ingest_errors_total", code=code)
    exchange, [reply] = begin(client, HTTP_AUTHORIZATION=header)
    assert not exchange.open
    assert (reply.status, json.loads(reply.body)["error"]) == (ANSWERS[code].status, code)
    assert publisher.records == []
    assert metric("ingest_errors_total", code=code) == before + 1
    [line] = caplog.records
    assert (line.fields["code"], line.fields["address"]) == (code, "127.0.0.1")
    assert "guess" not in str(line.fields)
    assert "word" not in str(line.fields)


def test_revoked_token_is_logged_by_its_name(client, caplog):
    """Which token it was is told by the name that it was given."""
    caplog.set_level("INFO")
    post(client, Authorization="Bearer revoked-word")
    assert [line.fields["token"] for line in caplog.records] == ["lost"]


def test_token_of_another_device_is_refused(client, publisher):
    """A token that is bound lets its own device send and no other."""
    assert_refused(post(client, message_of("mine"), Authorization="bound-word"), "token_of_other_device")
    assert publisher.records == []
    assert post(client, message_of("another"), Authorization="bound-word").status_code == 200


def test_token_binds_to_the_first_device_that_sends_a_message(client):
    """What is no message binds nothing; after the first message others are refused, test pushes too."""
    assert_refused(post(client, b"{}", Authorization="own-word"), "bad_message")
    assert post(client, message_of("first"), Authorization="own-word").status_code == 200
    assert_refused(post(client, message_of("second"), Authorization="own-word"), "token_of_other_device")
    test_push = json.dumps({"deviceId": "second", "payload": [{"name": "test"}]})
    assert_refused(post(client, test_push, Authorization="own-word"), "token_of_other_device")


def test_shared_token_is_for_every_device(client, publisher):
    """A shared token binds to nobody."""
    assert [post(client, message_of(device)).status_code for device in "abc"] == [200, 200, 200]
    assert [record.key for record in publisher.records] == [b"a", b"b", b"c"]


def test_token_in_the_url_counts_only_where_the_setting_says_so(new_client):
    """`?token=` is for installations that allow it."""
    path = "/sensor_data?token=shared-word"
    assert_refused(post(new_client(), path=path, Authorization=""), "no_token")
    assert post(new_client(token_in_url=True), path=path, Authorization="").status_code == 200


def test_nobody_is_let_in_before_the_tokens_are_known(publisher):
    """Until the tokens have been read everybody is asked to come back, and readiness says why."""
    client = Client(
        Asker(Service(SETTINGS, Admission(SETTINGS, TokenCache(), RateLimit(1, 1)), publisher, Tracing("ingest")))
    )
    exchange, [reply] = begin(client)
    assert (exchange.open, json.loads(reply.body)["error"]) == (False, "tokens_not_loaded")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["tokens"]) == (503, "not read from PostgreSQL yet")


def test_device_that_sends_too_fast_waits_alone(new_client, publisher):
    """Beyond its burst a device is told when to come back; others with the same token go on."""
    client = new_client(rate=0.1, burst=2)
    answers = [post(client, message_of("hasty")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert_refused(answers[-1], "too_fast")
    assert answers[-1].headers["Retry-After"] == "10"
    assert post(client, message_of("calm")).status_code == 200
    assert len(publisher.records) == 3


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Authorization": ""}, "no_token"),
        ({"Authorization": "guess"}, "wrong_token"),
        ({"Authorization": "revoked-word"}, "token_revoked"),
        ({"Authorization": "bound-word"}, "token_of_other_device"),
        ({"body": b"{"}, "bad_json"),
        ({"body": b"{}"}, "bad_message"),
        ({"body": json.dumps(TOO_MANY)}, "too_many_readings"),
        ({"content_type": "text/plain"}, "wrong_content_type"),
        ({"path": "/elsewhere"}, "not_found"),
    ],
)
def test_errors_in_words_for_the_person_with_the_phone(client, options, code):
    """With `errors=phone` an error is the one status whose text the app shows, and one plain sentence."""
    before = metric("ingest_errors_total", code=code)
    path = options.pop("path", "/sensor_data")
    answer = post(client, path=f"{path}?a=b&errors=phone", **options)
    assert (answer.status_code, answer.content_type) == (499, "text/plain; charset=utf-8")
    assert answer.text == f"{ANSWERS[code].phone}\n"
    assert metric("ingest_errors_total", code=code) == before + 1


def test_what_the_app_is_to_try_again_stays_as_it_is(new_client, publisher):
    """With `errors=phone` too, 429 and 503 keep their status, so that the app sends the message again."""
    client = new_client(rate=0.1, burst=1)
    publisher.fault = IngestError("not_acknowledged")
    path = "/sensor_data?errors=phone"
    assert_refused(post(client, path=path), "not_acknowledged")
    assert_refused(post(client, path=path), "too_fast")


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_every_error_has_its_words(answer):
    """Each code says one sentence; each that the phone shows has one without the words of programs."""
    assert (answer.phone is None) is (answer.status in {429, 503})
    assert (answer.retry_after_s is not None) is (answer.status in {429, 503})
    if answer.phone is not None:
        assert answer.phone.endswith(".")
        assert not {"HTTP", "gzip", "request", "body", "Content-Type"} & set(
            answer.phone.replace("HTTP Push", "").split()
        )
