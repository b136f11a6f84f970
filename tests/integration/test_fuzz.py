"""Fuzzing, for `FUZZ_SECONDS` each: the decoder, and the HTTP surface of ingest with a real broker behind it.

Rounds are numbered from `FUZZ_SEED` on, and a round's number decides its examples: what failed once fails again.
"""

import gzip
import itertools
import json
import os
import re
import socket
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st
from ingest_server import TOKEN, Ingest, read_topic_from, statuses

from ops.local.processes import wait_until
from services.common.message import Message, MessageError, TestPush, message_number, parse_message, read_record

# Threads that other tests have left in this process (an exporter between two tries) may use `random` meanwhile.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)

SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
FIRST_ROUND = int(os.environ.get("FUZZ_SEED", "0"))
PATIENCE_S = 20
SEEDS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))]
FUZZ = settings(
    max_examples=200,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def for_a_while(test):
    """Call a hypothesis test, each time with new examples, until the time is over."""
    end = time.monotonic() + SECONDS
    for number in itertools.count(FIRST_ROUND):
        try:
            seed(number)(test)()
        except Exception as error:
            error.add_note(f"This was round {number}: FUZZ_SEED={number} begins with it.")
            raise
        if time.monotonic() > end:
            return


# --- what is put into messages

TOKENS = [
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"1E400",
        b"0x1",
        b"01",
        b"9" * 400,
        b"1.7976931348623157e308",
    ),
    *(b"null", b"true", b"{}", b"[]", b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\\\u0000"', b'"\\x"'),
    *(
        b"[" * 40,
        b"]" * 40,
        b'{"a":' * 40,
        b"[" * 5000,
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\x00",
        b"\xef\xbb\xbf",
    ),
    *(b",", b":", b"{", b"}", b"\\", b'"', b" ", b"\n", b'"payload":', b'"sensors":', b'"deviceId":', b'"values":'),
    *(b'"name":"test"', b'"messageId":-1', b'"messageId":9223372036854775808', b'"messageId":1.5', b'"time":1e18'),
    *(
        b"\xfe\xff\x00{\x00}",
        "é".encode("utf-16"),
        b'"accuracy":{"a":[]}',
        b'"values":[1]',
        b'"time":"1"',
        b'"name":""',
    ),
]
ODD = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=20), st.just("x" * 129)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
READINGS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.sampled_from(["accelerometer", "test", "wrist motion", ""]), SCALARS),
        "time": st.one_of(st.integers(0, 1 << 63), SCALARS),
        "values": st.one_of(st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3), VALUES),
        "accuracy": VALUES,
        "more": VALUES,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "messageId": st.one_of(st.integers(0, 1000), SCALARS),
        "deviceId": st.one_of(st.just("d"), SCALARS),
        "sessionId": st.one_of(st.just("s"), SCALARS),
        "payload": st.one_of(st.lists(READINGS, max_size=4), VALUES),
        "sensors": st.lists(READINGS, max_size=2),
        "userId": VALUES,
        "more": VALUES,
    },
)


@st.composite
def damaged(draw, bodies):
    """A body with a few places replaced by something odd, or cut off, or twice."""
    body = draw(bodies)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(ODD) + body[at + draw(st.integers(0, 12)) :]
    return draw(
        st.sampled_from([body, body, body, body[: len(body) // 2], body + body, body.replace(b"d", b"\xe9", 1)])
    )


def encoded(document):
    """As JSON, with what JSON does not have (NaN) as Python writes it, and lone surrogates as escapes."""
    return json.dumps(document).encode()


BODIES = st.one_of(
    st.binary(max_size=200), DOCUMENTS.map(encoded), damaged(st.sampled_from(SEEDS)), damaged(DOCUMENTS.map(encoded))
)


# --- the decoder


@FUZZ
@given(BODIES)
@example(b'{"deviceId":"d","sessionId":"s","messageId":0,"sensors":[]}')
@example(b'{"deviceId":1,"deviceId":"d","sessionId":"s","userId":null,"payload":[]}')
def check_decoder(body):
    """Anything is a message, a test push or a `MessageError`; what is a message is read again as the same."""
    try:
        message, value = parse_message(body)
    except MessageError:
        return
    again, same = parse_message(value)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(message)
    assert parse_message(same) == (again, same)
    assert message.deviceId.encode()
    if isinstance(message, TestPush):
        return
    assert isinstance(message, Message)
    assert read_record(value) == again
    assert 0 <= message_number(message) == message_number(again) < 1 << 63
    assert b"\\u0000" not in value.replace(b"\\\\", b"")


def test_decoder():
    """Whatever bytes come, the decoder tells a message from what is none, and the stream reads what ingest read."""
    for_a_while(check_decoder)


# --- the HTTP surface

LINES = [
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Content-Length: 5",
    b"Content-Length: 18446744073709551616",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Expect: x",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Authorization: Bearer guess",
    b"Authorization: Basic !",
    b"Host: \xff",
    b"X: " + b"y" * 5000,
    b"X: y\x00",
    b"no colon",
    b" folded",
    b"",
]
TARGETS = [b"/sensor_data"] * 20 + [b"/sensor_data?errors=phone", b"/readyz", b"/", b"//", b"*", b"/%00", b"http://a/"]
METHODS = [b"POST"] * 30 + [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"post", b"\x16\x03\x01"]
VERSIONS = [b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 "]
WHOLE = [seed for seed in SEEDS if len(seed) < 5000]


@st.composite
def requests(draw):
    """One request, often a good one. Its trace context comes first and is never damaged: records are found by it."""
    body = draw(st.one_of(st.sampled_from(WHOLE), st.sampled_from(WHOLE), BODIES))
    head = [
        b" ".join([draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS)), draw(st.sampled_from(VERSIONS))]),
        b"traceparent: 00-%s-%s-00",
        b"Host: ingest",
        b"Authorization: Bearer " + TOKEN.encode(),
    ]
    fine = draw(st.sampled_from([True, True, True, False]))
    head += [b"Content-Type: application/json"] if fine else draw(st.lists(st.sampled_from(LINES), max_size=4))
    if draw(st.sampled_from([False] * 5 + [True])):
        body = gzip.compress(body)
        head.append(b"Content-Encoding: gzip")
    framing = draw(st.sampled_from(["length", "length", "chunks", "chunks", "length", "none"]))
    if framing == "length":
        head.append(b"Content-Length: %d" % max(0, len(body) + draw(st.sampled_from([0] * 20 + [-1, 1, 10**7]))))
    elif framing == "chunks":
        head.append(b"Transfer-Encoding: chunked")
        body = chunked(
            body, draw(st.integers(1, 3000)), draw(st.sampled_from([b"0\r\n\r\n"] * 20 + [b"0\r\n", b"x\r\n", b""]))
        )
    return b"\r\n".join(head[:1]), b"\r\n".join(head[1:]), body


def chunked(body, size, end):
    """The body in chunks of a size."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


class Surface:
    """Sends to ingest, and keeps what was answered on each connection."""

    def __init__(self, ingest):
        self.port = ingest.port
        self.accepted = Counter()
        self.cut_off = set()
        self._numbers = itertools.count(1)

    def send(self, sequence, cuts, truncated):
        """Send requests on one connection, in pieces; everything has to be answered or closed, and never by a 500."""
        trace = b"%032x" % next(self._numbers)
        parts = []
        for i, (first, rest, body) in enumerate(sequence, 1):
            named = rest.replace(b"00-%s-%s-00", b"00-%s-%016x-00" % (trace, i), 1)
            parts.append(first + b"\r\n" + named + b"\r\n\r\n" + body)
        data = b"".join(parts)
        data = data[: len(data) * truncated // 10]
        places = [0, *sorted({len(data) * cut // 1000 for cut in cuts}), len(data)]
        received = self._exchange([data[a:b] for a, b in itertools.pairwise(places)], trace)
        found = statuses(received)
        assert 500 not in found
        assert set(found) <= {100, 200, 400, 401, 403, 404, 405, 408, 413, 414, 415, 429, 431, 499, 503}
        self.accepted[trace.decode()] += len(accepted_posts(received))

    def _exchange(self, pieces, trace):
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    received += more
            except (BrokenPipeError, ConnectionResetError):
                self.cut_off.add(trace.decode())
        return received


def accepted_posts(received):
    """The answers that acknowledge a message; /livez, which answers the same, is not asked."""
    return re.findall(rb'HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)+\r\n\{"status":"ok"\}', received)


def test_http_surface(directory, postgres, own_kafka):
    """Whatever is sent: never a 500, never a hang, and each 200 stands for one record in Kafka, in it once."""
    with Ingest(directory, postgres, own_kafka, INGEST_HEAD_TIMEOUT_S="5", INGEST_BODY_TIMEOUT_S="5") as ingest:
        assert wait_until(ingest.is_ready, 20)
        surface = Surface(ingest)

        @FUZZ
        @given(
            st.lists(requests(), min_size=1, max_size=4),
            st.lists(st.integers(0, 1000), max_size=3),
            st.sampled_from([10] * 8 + [9, 5]),
        )
        def check(sequence, cuts, truncated):
            surface.send(sequence, cuts, truncated)

        for_a_while(check)
        assert ingest.metric('ingest_errors_total{code="unexpected"}') == 0
        assert "Traceback" not in ingest.log()
        assert wait_until(lambda: ingest.metric("ingest_requests_in_flight") == 0, 10)
    check_records(own_kafka, surface)


def check_records(kafka, surface):
    """As many records of each connection as it was told, each of them once."""
    stored = Counter()
    for topic, reader in ((kafka.topic, "stream"), (kafka.test_topic, "admin")):
        for record in read_topic_from(kafka, topic, {}, reader):
            _, trace, span, _ = dict(record.headers())["traceparent"].decode().split("-")
            stored[trace, span] += 1
    assert max(stored.values()) == 1
    of_connection = Counter(trace for trace, _ in stored)
    assert sum(surface.accepted.values()) > 50
    for trace, accepted in surface.accepted.items():
        if trace in surface.cut_off:
            assert accepted <= of_connection[trace]
        else:
            assert accepted == of_connection[trace]
