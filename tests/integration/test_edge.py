"""The edge in front of a real ingest: certificates, routes, headers, slow clients, and what its log never says."""

import http.client
import json
import os
import socket
import ssl
import statistics
import threading
import time
from contextlib import ExitStack, closing

import pytest
from ingest_server import JSON, TOKEN, Ingest, message, numbers_of, read_topic

from ops.local.edge import Edge, version
from ops.local.processes import last_lines, start, stop, wait_until
from tests.ports import free_ports
from tests.scrape import assert_refuses_strangers, scrape, told

NAME = "phones.local"
READ_BODY_S = 4
DRIPPING, IDLE, DEAF = 40, 200, 10
ALL_IN_S = 1.0


@pytest.fixture(scope="module")
def ingest(directory, postgres, kafka):
    with Ingest(directory, postgres, kafka) as running:
        assert wait_until(running.is_ready, 20)
        yield running


@pytest.fixture(scope="module")
def metrics_access(directory, secrets):
    """What the deployment tells the edge of who may ask for its metrics, in the words of the Caddy that is here."""
    text = (secrets / "services" / "edge" / "metrics-access").read_text()
    file = directory / "metrics-access"
    file.write_text(text if version() >= (2, 8) else text.replace("basic_auth", "basicauth"))
    return f"import {file}"


@pytest.fixture(scope="module")
def edge(directory, ingest, metrics_access):
    """Caddy before ingest, with nothing where the dashboard should be; `log_file` is its log."""
    http_port, https_port, metrics_port, nobody = free_ports(4)
    running = Edge(
        directory=directory / "edge", name=NAME, http_port=http_port, https_port=https_port,
        metrics_port=metrics_port, ingest_port=ingest.port, dashboard_port=nobody,
        read_body=f"{READ_BODY_S}s", patience="500ms", metrics_access=metrics_access,
    )  # fmt: skip
    running.prepare()
    log_file = directory / "edge.log"
    process = start(running.command(), log_file, f"tests:{log_file}")
    assert wait_until(running.is_ready, 30, process), "\n".join(last_lines(log_file, 10))
    yield running
    assert stop(process, running.command().stop_signal, 20)


def context(edge, *protocols):
    """TLS as a phone does it, trusting the edge's own CA."""
    made = ssl.create_default_context(cafile=edge.ca_file)
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


def secure(edge, *protocols):
    """A TLS connection."""
    plain = socket.create_connection(("127.0.0.1", edge.https_port), timeout=20)
    return context(edge, *protocols).wrap_socket(plain, server_hostname=NAME)


def connect(edge):
    connection = http.client.HTTPSConnection(NAME)
    connection.sock = secure(edge)  # the name stands in no DNS
    return closing(connection)


def ask(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def test_message_reaches_kafka_over_https(edge, kafka):
    """200 over HTTPS means what it means at ingest; one connection serves message after message."""
    with connect(edge) as connection:
        for number in range(3):
            answer, body = ask(connection, "POST", "/sensor_data", message(number, "over-https"), JSON)
            assert (answer.status, json.loads(body)) == (200, {"status": "ok"})
            if number == 0:
                used = connection.sock
        assert connection.sock is used
    assert numbers_of(read_topic(kafka, kafka.topic), "over-https") == [0, 1, 2]


def test_errors_come_through_as_ingest_gives_them(edge):
    """The edge changes neither status nor words nor the address that ingest sees as the phone's."""
    with connect(edge) as connection:
        answer, body = ask(connection, "POST", "/sensor_data?errors=phone", b"[]", JSON)
        assert answer.status == 499
        assert body.decode().rstrip().endswith(".")
        answer, body = ask(connection, "POST", "/sensor_data", b"x" * (3 << 20), JSON)
        assert (answer.status, json.loads(body)["error"]) == (413, "body_too_large")


def test_certificate_is_ecdsa_and_http_2_is_spoken(edge):
    """P-256 in the certificate, TLS 1.2 or newer, HTTP/2 for who wants it."""
    with secure(edge, "h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
        certificate = connection.getpeercert(binary_form=True)
    assert bytes.fromhex("2a8648ce3d030107") in certificate  # the object identifier of the curve P-256


def test_plain_http_is_sent_on_to_https(edge):
    """Port 80 only leads to 443."""
    with closing(http.client.HTTPConnection("localhost", edge.http_port, timeout=20)) as connection:
        answer, _ = ask(connection, "GET", "/history?x=1", headers={"Host": NAME})
        assert answer.status in (301, 308)
        assert answer.headers["Location"].startswith(f"https://{NAME}")


@pytest.mark.parametrize("path", ["/", "/grafana/", "/sensor_data"])
def test_security_headers_are_on_every_answer(edge, path):
    """Errors included; nothing tells what serves."""
    with connect(edge) as connection:
        answer, _ = ask(connection, "GET", path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "Caddy" not in answer.headers.get("Server", "")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/grafana/metrics", "/grafana/%6detrics"])
def test_what_is_for_the_inside_is_not_outside(edge, path):
    """Metrics and health are not behind the public name, but on a port of their own."""
    with connect(edge) as connection:
        assert ask(connection, "GET", path)[0].status == 404


def test_metrics_need_their_password(edge, secrets):
    """Of all that the inner port has, a stranger hears only that the edge lives."""
    password = (secrets / "passwords" / "metrics").read_text()
    assert_refuses_strangers(edge.metrics_port, password)
    assert any(line.startswith("caddy_http_requests_total{") for line in told(edge.metrics_port, password))
    for path in ("/", "/METRICS", "/%6detrics", "//metrics", "/livez/", "/livez/../metrics"):
        assert scrape(edge.metrics_port, path, password=None)[0] == 401
    assert scrape(edge.metrics_port, "/livez", password=None)[::2] == (200, "ok")


def test_root_certificate_can_be_fetched(edge):
    """A phone can be told to trust the edge's own CA: never its key."""
    with connect(edge) as connection:
        answer, body = ask(connection, "GET", "/edge-ca.crt")
        assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
        assert body == edge.ca_file.read_bytes()
        for path in ("/edge-ca.crt/root.key", "/edge-ca.crt/../root.key"):
            assert b"KEY" not in ask(connection, "GET", path)[1]


def test_dashboard_away_is_said_to_people(edge):
    """Where the page should be, a person reads that it comes back, and the browser asks again."""
    with connect(edge) as connection:
        answer, body = ask(connection, "GET", "/")
    assert (answer.status, answer.headers["Refresh"]) == (503, "5")
    assert b"comes back by itself" in body


def test_restart_of_ingest_is_waited_for(edge, ingest):
    """A message that comes while ingest starts again is answered with 200 a moment later, or with 503 to send again."""
    with connect(edge) as connection:
        assert stop(ingest.process, ingest.command.stop_signal, 20)
        answer, body = ask(connection, "POST", "/sensor_data", message(0, "restart"), JSON)
        assert (answer.status, json.loads(body)["error"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
        ingest.start()
        assert wait_until(ingest.is_listening, 20)
        assert wait_until(ingest.is_ready, 20)
        answer, _ = ask(connection, "POST", "/sensor_data", message(1, "restart"), JSON)
        assert answer.status == 200


def drip(connection, opening, until):
    """A byte now and then, until the other side has enough or the test has."""
    connection.sendall(opening)
    while not until.is_set():
        try:
            connection.sendall(b"a")
        except OSError:
            return
        until.wait(0.5)


def test_slow_clients_do_not_hold_up_others(edge):
    """Clients that drip a header or a body, idle connections and such as never read: the others stay fast."""
    head = b"POST /sensor_data HTTP/1.1\r\nHost: phones.local\r\nContent-Type: application/json\r\n"
    body = head + f"Authorization: Bearer {TOKEN}\r\n".encode() + b"Content-Length: 100000\r\n\r\n"
    enough = threading.Event()
    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(secure(edge))
        for _ in range(DEAF):
            stack.enter_context(secure(edge)).sendall(body[:-4] + b"\r\nX: y\r\n\r\n" + b"[" * 100_000)
        threads = []
        for opening in [head + b"X-Slow: ", body] * (DRIPPING // 2):
            connection = stack.enter_context(secure(edge))
            threads.append(threading.Thread(target=drip, args=(connection, opening, enough)))
            threads[-1].start()
        times = []
        began = time.monotonic()
        with connect(edge) as connection:
            while time.monotonic() - began < 2 * READ_BODY_S:
                sent = time.monotonic()
                answer, _ = ask(connection, "POST", "/sensor_data", message(len(times), "patient"), JSON)
                times.append(time.monotonic() - sent)
                assert answer.status == 200
        enough.set()
        for thread in threads:
            thread.join()
    assert statistics.quantiles(times, n=100)[98] < ALL_IN_S


def acknowledged(connection):
    """Whether a client takes what comes for a whole answer of 200."""
    try:
        with http.client.HTTPResponse(connection, method="POST") as answer:
            answer.begin()
            answer.read()
            return answer.status == 200
    except (http.client.HTTPException, ConnectionError, ssl.SSLError):
        return False


@pytest.mark.parametrize("ending", ["silence", "half close"])
@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_body_that_stops_is_never_acknowledged(edge, ending, length):
    """A body that does not come whole, within its time or at all, is answered with an error or not at all."""
    lines = [f"{name}: {value}" for name, value in (JSON | {"Host": NAME, "Content-Length": length}).items()]
    head = "\r\n".join(["POST /sensor_data HTTP/1.1", *lines, "", ""]).encode()
    with secure(edge) as connection:
        connection.sendall(head + b"[" * (length // 2))
        if ending == "half close":
            with socket.socket(fileno=os.dup(connection.fileno())) as plain:
                plain.shutdown(socket.SHUT_WR)
        assert not acknowledged(connection)


def test_log_holds_no_token_and_no_query(edge, directory):
    """The access log tells of each request, and never of its query, headers or body."""
    with connect(edge) as connection:
        ask(
            connection,
            "POST",
            "/sensor_data?token=query-secret",
            message(0, "logged"),
            JSON | {"Cookie": "a=cookie-secret"},
        )
        ask(connection, "GET", "/?token=page-secret", headers={"Referer": f"https://{NAME}/?token=referer-secret"})
    log = directory / "edge.log"
    assert wait_until(lambda: '"uri":"/"' in log.read_text(), 10)
    text = log.read_text()
    assert '"uri":"/sensor_data"' in text
    for secret in ("query-secret", "cookie-secret", "page-secret", "referer-secret", TOKEN, "gyroscope"):
        assert secret not in text
