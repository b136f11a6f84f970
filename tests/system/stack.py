"""The whole stack as its user starts it, on ports and in a directory of its own. Imports nothing of the services."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg2

from tests.ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
PORTS = (
    "INGEST_PORT", "INGEST_METRICS_PORT", "STREAM_METRICS_PORT", "DASHBOARD_PORT", "DASHBOARD_METRICS_PORT",
    "KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "POSTGRES_PORT", "PROMETHEUS_PORT",
    "KAFKA_METRICS_PORT", "SPARK_METRICS_PORT", "POSTGRES_METRICS_PORT", "NODE_METRICS_PORT",
    "EDGE_HTTP_PORT", "EDGE_HTTPS_PORT", "EDGE_METRICS_PORT",
)  # fmt: skip


def wait_until(condition, timeout_s, what):
    """The first true value of `condition()`; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.2)
    return value


class Stack:
    """One run of the stack after another, over the same data; phones send over HTTPS where there is an edge."""

    def __init__(self, directory, *, edge=False):
        self.directory = directory
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.environment = os.environ | ports | {"DATA_DIR": str(directory), "PHONES": "0", "EDGE": str(int(edge))}
        self.ingest_url = f"http://127.0.0.1:{ports['INGEST_PORT']}/sensor_data"
        self.dashboard_url = f"http://127.0.0.1:{ports['DASHBOARD_PORT']}"
        self.edge_url = f"https://localhost:{ports['EDGE_HTTPS_PORT']}" if edge else None
        self.edge_ca = directory / "edge" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self.prometheus_url = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}"
        self.postgres_port = int(ports["POSTGRES_PORT"])
        self.process = None
        self.simulators = []

    def start(self, timeout_s=240):
        self.state_file.unlink(missing_ok=True)
        with (self.directory.parent / "run.log").open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops.local"], cwd=REPOSITORY, env=self.environment, stdout=output, stderr=output
            )
        wait_until(lambda: self.state_file.exists() or self._ended(), timeout_s, "the stack is ready")

    def _ended(self):
        assert self.process.poll() is None, (self.directory.parent / "run.log").read_text()[-3000:]

    def stop(self):
        """Ctrl-C; returns the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0
        return time.monotonic() - started

    @property
    def state_file(self):
        return self.directory / "state.json"

    def pid(self, part):
        return json.loads(self.state_file.read_text())["parts"][part]["pid"]

    def kill(self, part, *, children=False):
        """kill -9 of a part, alone or with what it started; returns its id, so that the next one can be told apart."""
        pid = self.pid(part)
        (os.killpg if children else os.kill)(pid, signal.SIGKILL)
        return pid

    def kill_everything(self):
        """kill -9 of the runner and of all parts at once, as when the machine stops."""
        pids = [part["pid"] for part in json.loads(self.state_file.read_text())["parts"].values()]
        for pid in [self.process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def kill_what_is_left(self):
        """After a failed test: end the simulators, and the runner, which ends its parts with it."""
        for process in (*self.simulators, self.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    def database(self, role="dashboard"):
        return psycopg2.connect(
            host="127.0.0.1", port=self.postgres_port, dbname="sensors", user=role,
            password=(self.directory / "secrets" / role).read_text().strip(),
            sslmode="verify-full", sslrootcert=self.directory / "certificates" / "ca.crt",
        )  # fmt: skip

    def token_file(self, name):
        """Of one of the tokens that the start made."""
        return self.directory / "secrets" / f"{name}.token"

    @property
    def first_password(self):
        """Of the dashboard's first user."""
        return (self.directory / "secrets" / "dashboard_first_password").read_text().strip()

    def query(self, statement, parameters=None):
        with contextlib.closing(self.database()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def simulate(self, *arguments):
        """Start the simulator; the caller waits for it."""
        secure = ["--target", f"{self.edge_url}/sensor_data", "--ca-file", self.edge_ca]
        target = secure if self.edge_url else ["--target", self.ingest_url]
        options = [*target, "--token-file", self.token_file("simulator"), *arguments]
        command = [sys.executable, "-m", "services.simulator", *map(str, options)]
        simulator = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.DEVNULL)
        self.simulators.append(simulator)
        return simulator

    def post(self, body):
        """POST `body`; returns status and the answer's JSON."""
        token = self.token_file("curl").read_text().strip()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(self.ingest_url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def check(self):
        """The conservation check as `make check` runs it: the exit status and what it printed."""
        command = [sys.executable, "-m", "ops.local", "check"]
        result = subprocess.run(
            command, check=False, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return result.returncode, result.stdout + result.stderr

    def wait_until_stored(self, timeout_s=120):
        """Wait until the check adds up with no lag left; fails with its table."""

        def adds_up():
            status, output = self.check()
            return status == 0 and output.count("lag of 0") == output.count("lag of") > 0

        try:
            wait_until(adds_up, timeout_s, "everything is stored")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.check()[1]}") from None
