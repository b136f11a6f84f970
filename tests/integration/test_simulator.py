"""The simulator as a process against a real HTTP server: what it sends, records, and does when things go wrong."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.common.message import parse_message

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "services.simulator"]
QUICK = ["--phones", "2", "--duration", "2", "--batch-period", "0.1", "--rate", "20"]


class Server(ThreadingHTTPServer):
    """Keeps what it is sent; `script` says how to answer: the status of each POST in turn, then 200."""

    daemon_threads = True

    def __init__(self, port=0, script=()):
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/sensor_data?source=test"
        self.script = list(script)
        self.lock = threading.Lock()
        self.posts = []
        self.connections = 0

    def handle_error(self, request, client_address):
        """A simulator that is killed breaks its connections: nothing to tell."""

    def status(self, post):
        with self.lock:
            status = self.script.pop(0) if self.script else 200
            self.posts.append((status, *post))
        return status

    @property
    def acknowledged(self):
        """(sessionId, messageId) of every message that was answered with 200."""
        return [identity(json.loads(body)) for status, body, *_ in self.posts if status == 200]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:  # the simulator was killed while it sent
            self.close_connection = True
            return
        status = self.server.status((body, self.path, dict(self.headers)))
        if status is None:  # the connection breaks before an answer
            self.close_connection = True
            return
        answer = b'{"status":"ok"}' if status == 200 else b'{"error":"some_reason"}'
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        """Tests read what was kept, not what was logged."""


@contextmanager
def serving(**arguments):
    server = Server(**arguments)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def simulate(*arguments):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def started(*arguments):
    """A simulator that is still running."""
    command = [*COMMAND, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process, text):
    """Read the process's output up to a line with `text`."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the simulator ended without telling {text!r}")


def identity(message):
    return message["sessionId"], message["messageId"]


def attempts(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def acknowledged(file):
    return [identity(attempt["message"]) for attempt in attempts(file) if attempt["status"] == 200]


def table(output):
    return {row[:24].strip(): row[24:].strip() for row in output.splitlines() if row[:1].isalpha()}


def test_everything_is_sent_once_in_order():
    """Without faults each phone's messages arrive once, in order, over one connection, and are good messages."""
    with serving() as server:
        run = simulate("--target", server.url, *QUICK)
    assert run.returncode == 0, run.stdout + run.stderr
    by_session = {}
    for session, number in server.acknowledged:
        by_session.setdefault(session, []).append(number)
    assert list(by_session.values()) == [list(range(20)), list(range(20))]
    assert server.connections == 2
    for _, body, path, headers in server.posts:
        parse_message(body)
        assert path == "/sensor_data?source=test"
        assert headers["Content-Type"] == "application/json"
    assert table(run.stdout)["messages acknowledged"] == "40"


def test_the_record_is_what_the_server_saw(tmp_path):
    """Whatever the answers, the record holds every post with its answer; 200 means that the server has it."""
    record = tmp_path / "record.jsonl"
    with serving(script=[200, 503, None, 429, 200, None, 502, 400, 401, 200]) as server:
        run = simulate("--target", server.url, *QUICK, "--duplicates", "0.3", "--reordering", "0.3", "--record", record)
    assert run.returncode == 1
    recorded = attempts(record)
    assert Counter(acknowledged(record)) == Counter(server.acknowledged)
    seen = Counter((status, identity(json.loads(body))) for status, body, *_ in server.posts)
    assert Counter((attempt["status"], identity(attempt["message"])) for attempt in recorded) == seen
    for attempt in recorded:
        assert (attempt["answered_at"] is None) == (attempt["status"] is None)
        assert attempt["status"] is None or attempt["answered_at"] >= attempt["sent_at"]
    assert {a["detail"] for a in recorded if a["status"] == 400} == {'{"error":"some_reason"}'}
    assert table(run.stdout)["messages refused"] == "2"


@pytest.mark.parametrize("status", [503, 429, None])
def test_what_was_not_acknowledged_is_sent_again(status):
    """A message that got no 200 is sent again with the same messageId until it gets one."""
    with serving(script=[status] * 10) as server:
        run = simulate("--target", server.url, *QUICK)
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(number for _, number in server.acknowledged) == sorted([*range(20), *range(20)])
    assert table(run.stdout)["posts tried again"] == "10"


def test_a_message_is_given_up_after_a_time():
    """What is never acknowledged is given up after the patience asked for, and the run ends with 1."""
    with serving(script=[503] * 1000) as server:
        run = simulate("--target", server.url, *QUICK, "--phones", "1", "--duration", "0.2", "--patience", "0.5")
    assert run.returncode == 1
    assert table(run.stdout)["messages unanswered"] == "2"
    assert run.stdout.count("answers 503") == 1


def test_target_that_appears_later():
    """A target that is not there is told once; what was due meanwhile is sent when it comes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with started("--target", f"http://127.0.0.1:{port}/sensor_data", *QUICK) as process:
        wait_for(process, "cannot be reached: Connection refused; trying again")
        with serving(port=port) as server:
            rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "acknowledges again" in rest
    assert "cannot be reached" not in rest
    assert len(set(server.acknowledged)) == 40


def test_connection_closed_while_idle(tmp_path):
    """A server that closes idle connections costs no failed attempt."""
    record = tmp_path / "record.jsonl"

    with serving() as server:
        Handler.timeout = 0.05  # seconds without a request until it closes
        try:
            run = simulate(
                *("--target", server.url, "--phones", "1", "--duration", "2", "--batch-period", "0.4"),
                *("--rate", "10", "--record", record),
            )
        finally:
            Handler.timeout = None
    assert run.returncode == 0
    assert [attempt["status"] for attempt in attempts(record)] == [200] * 5
    assert server.connections == 5


def test_interrupt_ends_with_the_table():
    """Ctrl-C ends the run soon, with the table and the status of what was sent so far."""
    with serving() as server, started("--target", server.url, "--progress", "0.2") as process:
        wait_for(process, "3 phones · ")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert int(table(rest)["messages acknowledged"]) == len(server.acknowledged)


def test_kill_leaves_a_readable_record(tmp_path):
    """After a kill of the simulator what is recorded as acknowledged was, and one per phone may be missing."""
    record = tmp_path / "record.jsonl"
    with serving() as server:
        with started(
            *("--target", server.url, "--batch-period", "0.05", "--rate", "20"),
            *("--record", record, "--progress", "0.5"),
        ) as process:
            wait_for(process, "3 phones · ")
            process.kill()
            process.wait()
        assert set(acknowledged(record)) <= set(server.acknowledged)
    assert len(set(server.acknowledged) - set(acknowledged(record))) <= 3


def test_record_is_replayed(tmp_path):
    """What was recorded can be replayed: as many messages, in new sessions, the same values."""
    record, again = tmp_path / "record.jsonl", tmp_path / "again.jsonl"
    with serving() as server:
        assert simulate("--target", server.url, *QUICK, "--record", record).returncode == 0
        run = simulate("--target", server.url, "--replay", record, "--speed", "4", "--record", again)
    assert run.returncode == 0, run.stdout + run.stderr
    first, second = ([attempt["message"] for attempt in attempts(file)] for file in (record, again))
    assert len(first) == len(second) == 40
    assert {message["sessionId"] for message in first}.isdisjoint({message["sessionId"] for message in second})

    def values(messages):
        return sorted(json.dumps([reading["values"] for reading in message["payload"]]) for message in messages)

    assert values(first) == values(second)


def test_token_is_sent_as_a_bearer_token(tmp_path):
    """The token of the file is in every request."""
    (tmp_path / "token").write_text("a-token\n")
    with serving() as server:
        run = simulate("--target", server.url, *QUICK, "--token-file", tmp_path / "token")
    assert run.returncode == 0
    assert {headers["Authorization"] for *_, headers in server.posts} == {"Bearer a-token"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--target", "localhost"], "give a URL such as"),
        (["--token-file", "/nowhere/token"], "/nowhere/token: No such file or directory"),
        (["--record", "/nowhere/record"], "/nowhere/record: No such file or directory"),
        (["--replay", "/nowhere/recording"], "--replay /nowhere/recording cannot be read"),
        (["--target", "https://localhost/", "--ca-file", "/nowhere/ca"], "--ca-file /nowhere/ca cannot be used"),
    ],
)
def test_what_stops_the_start(arguments, complaint):
    """What cannot work is told in one line before anything is sent, with status 2."""
    run = simulate(*arguments)
    assert run.returncode == 2
    assert complaint in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_full_disk_ends_the_run():
    """A record that cannot be written ends the run: a test that trusts it must not go on."""
    with serving() as server:
        run = simulate("--target", server.url, *QUICK, "--record", "/dev/full")
    assert run.returncode == 2
    assert run.stderr == "/dev/full: No space left on device\n"


def test_metrics_tell_what_became_of_the_messages():
    """With a port for metrics Prometheus reads what was sent and acknowledged."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving() as server:
        arguments = ["--target", server.url, "--metrics-port", port, "--progress", "0.5", "--rate", "20"]
        with started(*arguments) as process:
            wait_for(process, "3 phones · ")
            wait_for(process, "3 phones · ")
            metrics = _read(port)
    assert float(metrics['simulator_messages_total{outcome="acknowledged"}']) > 0
    assert float(metrics["simulator_round_trip_seconds_count"]) > 0


def _read(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = connection.makefile().read()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("simulator_"))
