"""Ingest under gunicorn with a real broker: what it acknowledges is in Kafka, all else has its answer."""

import functools
import gzip
import itertools
import json
import os
import signal
import socket
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest
from ingest_server import JSON, TOKEN, Ingest, message, numbers_of, post, read_topic, statuses

from ops.local.processes import stop, wait_until
from services.common.message import parse_message
from services.ingest.errors import ANSWERS
from tests.otlp import Receiver
from tests.scrape import assert_refuses_strangers, assert_tells_strangers_that_it_lives

PAYLOADS = sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MIB = 1 << 20
READING = b'{"name":"n","time":1,"values":{}}'
START = b"POST /sensor_data HTTP/1.1\r\nHost: ingest\r\nContent-Type: application/json\r\n"
HEAD = START + b"Authorization: Bearer %s\r\n" % TOKEN.encode()
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: ingest\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def new_ingest(directory, postgres):
    """Makes an ingest against a broker, acting as a principal, with settings of its own."""
    return functools.partial(Ingest, directory, postgres)


@pytest.fixture(scope="module")
def ingest(kafka, new_ingest):
    """An ingest that tests share."""
    with new_ingest(kafka) as ingest:
        assert wait_until(ingest.is_ready, 20)
        yield ingest


def with_length(body, *more):
    """A whole request with a Content-Length and `more` header lines."""
    lines = b"".join(line + b"\r\n" for line in more)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_shape_is_a_record_in_kafka(ingest, kafka, path):
    """When the answer is 200, the record is in Kafka with its key, its value and its trace context."""
    body = path.read_bytes()
    test_push = path.stem.startswith("test-push")
    topic, reader = (kafka.test_topic, "admin") if test_push else (kafka.topic, "stream")
    before = len(read_topic(kafka, topic, reader))
    assert ingest.post(body, traceparent=TRACE) == (200, {"status": "ok"})
    records = read_topic(kafka, topic, reader)
    assert len(records) == before + 1
    newest = max(records, key=lambda record: record.timestamp())
    assert newest.key().decode() == json.loads(body)["deviceId"]
    assert newest.value() == parse_message(body)[1]
    assert dict(newest.headers())["traceparent"] == TRACE.encode()
    assert dict(newest.headers())["token-id"].isdigit()


def test_trace_goes_from_the_request_to_the_record(kafka, new_ingest):
    """A sampled message leaves a span for its request and one for its publishing, which its record names."""
    sampled = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Receiver() as receiver:
        with new_ingest(kafka, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **sampled) as ingest:
            assert wait_until(ingest.is_ready, 20)
            with ingest.connect() as connection:
                connection.request("POST", "/sensor_data", message(1, "traced"), JSON)
                answer = connection.getresponse()
                trace_id, request_id = answer.headers["X-Trace-Id"], answer.headers["X-Request-Id"]
                answer.read()
                assert post(connection, b"{}")[0] == 400
        requests = receiver.spans(name="POST /sensor_data")
        [publish] = receiver.spans(name="sensor-messages publish")
    [request] = [span for span in requests if span.trace_id == trace_id]
    [refused] = [span for span in requests if span.trace_id != trace_id]
    [record] = [record for record in read_topic(kafka, kafka.topic) if record.key() == b"traced"]
    assert publish.parent_id == request.span_id
    assert dict(record.headers())["traceparent"].decode().startswith(f"00-{trace_id}-{publish.span_id}-")
    assert request.attributes["request.id"] == request_id
    assert (request.failed, refused.failed) == (False, True)
    assert f"trace_id={refused.trace_id}" in ingest.log()


def test_messages_of_a_device_keep_their_order(ingest, kafka):
    """Messages sent one after another on one connection are in Kafka once each, in their order."""
    with ingest.connect() as connection:
        for number in range(50):
            assert post(connection, message(number, "ordered"))[0] == 200
    assert numbers_of(read_topic(kafka, kafka.topic), "ordered") == list(range(50))


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        pytest.param(with_length(message(1)), [200], id="plain"),
        pytest.param(with_length(gzip.compress(message(1)), b"Content-Encoding: gzip"), [200], id="gzip"),
        pytest.param(CHUNKED + chunk(message(1)[:20]) + chunk(message(1)[20:]) + chunk(b""), [200], id="chunked"),
        pytest.param(with_length(message(1)) * 3, [200, 200, 200], id="pipelined"),
        pytest.param(with_length(b"{}") + with_length(message(1)), [400, 200], id="pipelined after an error"),
        pytest.param(with_length(message(1)).replace(b"HTTP/1.1", b"HTTP/1.0"), [200], id="HTTP/1.0"),
        pytest.param(with_length(message(1), b"Expect: 100-continue"), [100, 200], id="expect"),
        pytest.param(HEAD + b"\r\n", [400], id="no body"),
        pytest.param(with_length(b" " * (2 * MIB + 1)), [413], id="over the limit"),
        pytest.param(with_length(b" " * (6 * MIB)), [413], id="far over the limit"),
        pytest.param(HEAD + b"Content-Length: 99999999999\r\n\r\n" + b" " * 1000, [413], id="announced too large"),
        pytest.param(CHUNKED + chunk(b" " * MIB) * 3 + chunk(b""), [413], id="chunked over the limit"),
        pytest.param(with_length(gzip.compress(b" " * 200 * MIB), b"Content-Encoding: gzip"), [413], id="gzip bomb"),
        pytest.param(with_length(b"[" * 2 * MIB), [400], id="depth bomb"),
        pytest.param(CHUNKED + b"zz\r\n", [400], id="bad chunk size"),
        pytest.param(CHUNKED + b"5\r\nabcdefgh\r\n0\r\n\r\n", [400], id="bad chunk end"),
        pytest.param(CHUNKED + b"1;" + b"x" * 20_000, [400], id="endless chunk extension"),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", [400], id="two lengths"),
        pytest.param(
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], id="length and chunks"
        ),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", [400], id="negative length"),
        pytest.param(HEAD + b"Content-Length: 1e3\r\n\r\n", [400], id="odd length"),
        pytest.param(HEAD + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n", [413], id="absurd length"),
        pytest.param(HEAD + b"Transfer-Encoding: nonsense\r\n\r\n", [400], id="unknown transfer encoding"),
        pytest.param(HEAD + b"X: y\r\n" * 100 + b"\r\n", [431], id="many headers"),
        pytest.param(HEAD + b"X: " + b"y" * 10_000 + b"\r\n\r\n", [431], id="long header"),
        pytest.param(HEAD + b"X: y" * 200_000, [431], id="endless header"),
        pytest.param(b"POST /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", [414], id="long address"),
        pytest.param(HEAD + b"X\x00: y\r\n\r\n", [400], id="nul in a header"),
        pytest.param(HEAD + b"no colon\r\n\r\n", [400], id="no header"),
        pytest.param(HEAD + b"Expect: nonsense\r\n\r\n", [400], id="unknown expectation"),
        pytest.param(b"POST /sensor_data HTTP/9.9\r\n\r\n", [400], id="unknown version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400], id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], id="HTTP/2"),
        pytest.param(b"\r\n" * 100 + b"\r\n", [400], id="blank lines"),
        pytest.param(b"GET * HTTP/1.1\r\n\r\n", [400], id="asterisk"),
        pytest.param(b"GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\n\r\n", [400], id="broken address"),
        pytest.param(HEAD.replace(b"ingest", b"\xff\xfe") + b"\r\n", [400], id="broken host"),
        pytest.param(b"POST /%ff%00%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", [404], id="odd characters"),
    ],
)
def test_raw_bytes_get_their_answer(ingest, request_bytes, expected):
    """Whatever bytes come, the answer is the right one, as JSON, and the next request is answered."""
    answers = ingest.raw(request_bytes)
    assert statuses(answers) == expected
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answers.split(b"HTTP/1.")[1:]]
    assert all(json.loads(body) for body in bodies if body)
    assert answers.count(b"X-Request-Id: ") == len([status for status in expected if status != 100])
    assert ingest.post(message(1))[0] == 200


def with_value(value):
    """A message with this JSON as the value of a channel."""
    return message(1).replace(b'"y": -1', b'"y": ' + value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", "bad_json", id="empty"),
        pytest.param(b"{", "bad_json", id="cut off"),
        pytest.param(message(1) + b"x", "bad_json", id="more behind"),
        pytest.param(with_value(b"NaN"), "bad_json", id="NaN"),
        pytest.param(with_value(b"-Infinity"), "bad_json", id="infinity"),
        pytest.param(with_value(b"1e999"), "bad_json", id="1e999"),
        pytest.param(with_value(b"9" * 400), None, id="huge integer"),
        pytest.param(with_value(b"9" * 5000), "bad_json", id="absurd integer"),
        pytest.param(with_value(b"[" * 50 + b"]" * 50), "bad_message", id="deep value"),
        pytest.param(b'{"a":' * 100_000, "bad_json", id="depth bomb"),
        pytest.param(message(1).replace(b'"messageId": 1', b'"messageId": 2, "messageId": 1'), None, id="key twice"),
        pytest.param(message(1).decode().encode("utf-16"), "bad_json", id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf" + message(1), "bad_json", id="byte order mark"),
        pytest.param(with_value(b'"\xff"'), "bad_json", id="bad UTF-8"),
        pytest.param(with_value(b'"\\ud800"'), "bad_json", id="lone surrogate"),
        pytest.param(with_value(b'"\\u0000"'), "bad_message", id="NUL"),
        pytest.param(b"[]", "bad_message", id="list"),
        pytest.param(b"5", "bad_message", id="scalar"),
        pytest.param(message(1).replace(b"phone", b"x" * 129), "bad_message", id="long id"),
        pytest.param(message(1).replace(b"phone", b"a\\n"), "bad_message", id="control character in an id"),
        pytest.param(message(1).replace(b'"gyroscope"', b"7"), "bad_message", id="wrong type"),
        pytest.param(message(1).replace(b'"payload"', b'"else"'), "bad_message", id="no payload"),
        pytest.param(message(1, readings=10_000), None, id="10,000 readings"),
        pytest.param(
            b'{"deviceId":"d","sessionId":"s","payload":[%s]}' % b",".join([READING] * 50_001),
            "too_many_readings",
            id="50,001 readings",
        ),
    ],
)
def test_bodies_get_their_answer(ingest, body, expected):
    """Whatever is in a body, it is a message or it is refused with the right code."""
    status, answer = ingest.post(body)
    assert answer.get("error") == expected
    assert status == (ANSWERS[expected].status if expected else 200)


@pytest.mark.parametrize("line", [b"", b"Content-Type: text/plain\r\n", b"Content-Type: application/jsonp\r\n"])
def test_wrong_or_missing_type_is_refused(ingest, line):
    """What is not announced as JSON is refused, and the connection goes on."""
    head = HEAD.replace(b"Content-Type: application/json\r\n", line)
    request = head + b"Content-Length: %d\r\n\r\n" % len(message(1)) + message(1)
    assert statuses(ingest.raw(request + with_length(message(1)))) == [415, 200]


@pytest.mark.parametrize(("sent", "expected"), [(3, [200] * 3), (2.5, [200, 200, 400])], ids=["whole", "cut off"])
def test_client_that_has_said_all_is_answered(ingest, sent, expected):
    """A client that closes its half of the connection gets all its answers, and then the end."""
    request = with_length(message(1))
    with socket.create_connection(("127.0.0.1", ingest.port), timeout=15) as connection:
        connection.sendall((request * 3)[: int(len(request) * sent)])
        connection.shutdown(socket.SHUT_WR)
        assert statuses(b"".join(iter(functools.partial(connection.recv, 65536), b""))) == expected


def test_chunks_without_end_are_refused_while_they_come(ingest):
    """A client that sends chunks for ever is answered 413 and cut off."""
    before = ingest.metric('ingest_errors_total{code="body_too_large"}')
    with socket.create_connection(("127.0.0.1", ingest.port), timeout=15) as connection:
        connection.sendall(CHUNKED)
        endless = itertools.repeat(chunk(b" " * 100_000), 1000)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"".join(endless))
    assert wait_until(lambda: ingest.metric('ingest_errors_total{code="body_too_large"}') > before, 5)


def test_clients_that_keep_their_end_open_hold_nobody_up(ingest):
    """Connections that ingest ends and the client does not are closed without holding up other requests."""
    asked_to_close = with_length(message(1), b"Connection: close")
    clients = [socket.create_connection(("127.0.0.1", ingest.port)) for _ in range(10)]
    for client in clients:
        client.sendall(asked_to_close)
    for client in clients:
        assert statuses(client.recv(65536)) == [200]
    started = time.monotonic()
    assert ingest.post(message(1))[0] == 200
    assert time.monotonic() - started < 1
    for client in clients:
        client.close()


def test_log_holds_nothing_that_was_sent(ingest):
    """Neither address, headers nor bodies get into the log, whether they are good, bad or not HTTP."""
    secret = b"Authorization: Bearer hidden-word"
    ingest.raw(with_length(b'{"deviceId": "hidden-word"}', b"X: hidden-word"))
    ingest.raw(with_length(b'{"hidden-word', b"X: hidden-word"))
    ingest.raw(START + secret + b"\r\n\r\n")
    ingest.raw(START.replace(b"data", b"data?token=hidden-word") + b"\r\n")
    ingest.raw(HEAD + secret + b"\x00\r\n\r\n")
    ingest.raw(HEAD + b"hidden-word\r\n\r\n")
    ingest.raw(b"hidden-word /hidden-word\r\n\r\n")
    assert ingest.post(message(1))[0] == 200
    assert "refused" in ingest.log()
    assert "hidden-word" not in ingest.log()
    assert TOKEN not in ingest.log()


def test_client_that_goes_away_leaves_nothing(ingest, kafka):
    """A message cut off in the middle is not stored, and its place is free again."""
    with socket.create_connection(("127.0.0.1", ingest.port)) as connection:
        connection.sendall(with_length(message(1, "gone"))[:-10])
    assert wait_until(lambda: ingest.metric('ingest_errors_total{code="body_incomplete"}') >= 1, 5)
    assert numbers_of(read_topic(kafka, kafka.topic), "gone") == []
    assert ingest.metric("ingest_requests_in_flight") == 0


def test_largest_message_fits(ingest, kafka):
    """A message of the largest allowed size that cannot be compressed is stored."""
    empty = {
        "deviceId": "camera",
        "sessionId": "s",
        "messageId": 1,
        "payload": [{"name": "camera", "time": 1, "values": {"image": ""}}],
    }
    size = 2 * MIB - len(json.dumps(empty))
    empty["payload"][0]["values"]["image"] = os.urandom(size).hex()[:size]
    body = json.dumps(empty).encode()
    assert len(body) == 2 * MIB
    assert ingest.post(body) == (200, {"status": "ok"})
    assert numbers_of(read_topic(kafka, kafka.topic), "camera") == [1]


class Phones:
    """Phones that post one message after another until told to stop; keeps what was acknowledged."""

    def __init__(self, ingest, name, count=4):
        self.acknowledged = {f"{name}-{i}": [] for i in range(count)}
        self.answers = []
        self._ingest = ingest
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=[device]) for device in self.acknowledged]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def count(self):
        return sum(len(numbers) for numbers in self.acknowledged.values())

    def wait_for_more(self, count, timeout_s=20):
        goal = self.count() + count
        assert wait_until(lambda: self.count() >= goal, timeout_s), f"{self.count()} of {goal} acknowledged"

    def _send(self, device):
        for number in itertools.count():
            if self._stopped.is_set():
                return
            try:
                status, _ = self._ingest.post(message(number, device))
            except (OSError, HTTPException):
                continue
            self.answers.append(status)
            if status == 200:
                self.acknowledged[device].append(number)

    def assert_nothing_lost(self, kafka):
        """Every acknowledged message is in Kafka, and none that this ingest acknowledged is there twice."""
        records = read_topic(kafka, kafka.topic)
        for device, numbers in self.acknowledged.items():
            stored = numbers_of(records, device)
            assert set(numbers) <= set(stored)
            assert len(stored) == len(set(stored))


def test_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(kafka, new_ingest):
    """After `kill -9` of each worker in turn, others answer, all that got 200 is in Kafka, counters go on."""
    with new_ingest(kafka, INGEST_WORKERS="2") as ingest, Phones(ingest, "killed") as phones:
        phones.wait_for_more(100)
        first = ingest.workers()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
            phones.wait_for_more(100)
        assert wait_until(lambda: len(set(ingest.workers()) - set(first)) == 2, 10)
        phones.wait_for_more(50)
        phones.__exit__()
        assert ingest.metric("ingest_messages_accepted_total") >= phones.count()
        phones.assert_nothing_lost(kafka)


def test_workers_count_together(kafka, new_ingest):
    """Whichever worker is asked, the metrics are those of all."""
    with new_ingest(kafka, INGEST_WORKERS="2") as ingest, Phones(ingest, "counted") as phones:
        phones.wait_for_more(200)
        phones.__exit__()
        assert {ingest.metric("ingest_messages_accepted_total") for _ in range(20)} == {float(phones.count())}


def test_metrics_need_their_password(ingest):
    """The port answers a stranger only that ingest lives."""
    assert_refuses_strangers(ingest.metrics_port)
    assert_tells_strangers_that_it_lives(ingest.metrics_port)


def test_sigterm_finishes_what_has_begun(kafka, new_ingest):
    """Requests that wait for Kafka when SIGTERM comes are answered with 200, then ingest ends by itself."""
    with new_ingest(kafka, INGEST_LINGER_MS="1500") as ingest:
        answers = []
        threads = [
            threading.Thread(target=lambda i=i: answers.append(ingest.post(message(i, "last"))[0])) for i in range(10)
        ]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: ingest.metric("ingest_requests_in_flight") == 10, 10)
        assert stop(ingest.process, signal.SIGTERM, 10)
        for thread in threads:
            thread.join()
        assert answers == [200] * 10
        assert sorted(numbers_of(read_topic(kafka, kafka.topic), "last")) == list(range(10))
        assert ingest.process.returncode == 0


def test_full_queue_is_refused_at_once(kafka, new_ingest):
    """With its queue to Kafka full, ingest answers 503 without waiting."""
    with new_ingest(kafka, INGEST_LINGER_MS="3000", INGEST_MAX_QUEUED_RECORDS="1") as ingest:
        first = threading.Thread(target=ingest.post, args=[message(1, "queued")])
        first.start()
        assert wait_until(lambda: ingest.metric("ingest_requests_in_flight") == 1, 10)
        status, answer = ingest.post(message(2, "queued"))
        assert first.is_alive()
        assert (status, answer["error"]) == (503, "queue_full")
        first.join()


def test_more_requests_than_allowed_are_refused_at_once(kafka, new_ingest):
    """With all places taken ingest answers 503 without waiting, to one message or two, and the connection goes on."""
    with new_ingest(kafka, INGEST_LINGER_MS="3000", INGEST_MAX_IN_FLIGHT="1") as ingest:
        first = threading.Thread(target=ingest.post, args=[message(1, "crowd")])
        first.start()
        assert wait_until(lambda: ingest.metric("ingest_requests_in_flight") == 1, 10)
        whole = with_length(message(2, "crowd"))
        [turned_away, *after_it] = ingest.raw(whole + whole + LIVEZ).split(b"HTTP/1.1 ")[1:]
        alone = ingest.raw(whole).removeprefix(b"HTTP/1.1 ")
        assert first.is_alive()
        assert [answer[:4] for answer in (alone, turned_away, *after_it)] == [b"503 "] * 3 + [b"200 "]
        assert field_names(alone) == field_names(turned_away) == field_names(after_it[0])
        assert b'"error":"overloaded"' in alone
        assert ingest.metric('ingest_errors_total{code="overloaded"}') == 3
        with socket.create_connection(("127.0.0.1", ingest.port), timeout=20) as connection:
            connection.sendall(whole)
            assert statuses(connection.recv(65536)) == [503]
            first.join()
            connection.sendall(whole)
            assert statuses(connection.recv(65536)) == [200]


def field_names(answer):
    """Of a raw answer, in their order."""
    return [line.partition(b":")[0] for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
