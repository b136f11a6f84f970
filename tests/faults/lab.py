"""The running stack as the faults see it: its processes, its checkpoint, and whether it works again."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import uuid
from random import Random

import psycopg2

from tests.processes import children, command_of, descendants, environment_of, kill, runs, send
from tests.system.stack import REPOSITORY, Stack, wait_until

INGEST_WORKERS = 2
PROBES = 4  # devices enough that every partition gets one
CONDITIONS = ("--duplicates", 0.05, "--reordering", 0.05, "--wrong-clocks", 0.02, "--restarts", 0.01)


class Lab:
    """One stack and the means to hurt it. `directory` is made by the caller and may be entered by all users."""

    def __init__(self, directory, **settings):
        self.directory = directory
        self.random = Random()
        self.holds = directory / "holds"
        self.holds.mkdir()
        self.stack = Stack(directory / "data")
        self.stack.environment |= {"STREAM_HOLD_DIR": str(self.holds), "INGEST_WORKERS": str(INGEST_WORKERS)} | settings

    @property
    def checkpoint(self):
        return self.stack.directory / "checkpoint" / "query"

    def pids(self, target):
        """The processes that `target` names; empty while there is none."""
        return PIDS[target](self.stack)

    def await_pids(self, target):
        """The same, waited for."""
        return wait_until(lambda: self.pids(target), 120, f"{target} runs")

    def end_stream(self):
        """kill -9 of the driver and the JVM together."""
        kill([*self.pids("jvm"), *self.pids("driver")])

    def hold(self, point):
        """Ask the stream to wait at `point` and wait until it does."""
        asked, held = self.holds / point, self.holds / f"{point}.held"
        asked.touch()
        wait_until(held.exists, 120, f"the stream comes to {point}")

    def let_go(self, point):
        """Undo `hold`, whether it waits there by now or not."""
        for file in (self.holds / point, self.holds / f"{point}.held"):
            file.unlink(missing_ok=True)

    def start_phones(self, record, phones, seed, patience_s=900):
        """Simulated phones that send until they get SIGINT, and write down every answer."""
        options = ("--phones", phones, "--seed", seed, "--record", record, "--patience", patience_s)
        return self.stack.simulate(*options, *CONDITIONS)

    def await_whole(self, timeout_s):
        """Wait until every part runs and messages sent from now on are stored."""
        deadline = time.monotonic() + timeout_s
        wait_until(lambda: everything_runs(self.stack), timeout_s, "every part runs")
        session = str(uuid.uuid4())
        for number in range(PROBES):
            body = probe(f"probe-{number}", session)
            wait_until(lambda body=body: self._acknowledged(body), deadline - time.monotonic(), "a probe gets 200")
        wait_until(lambda: self._stored(session) == PROBES, deadline - time.monotonic(), "the probes are stored")

    def _acknowledged(self, body):
        try:
            return self.stack.post(body)[0] == 200
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def _stored(self, session):
        statement = "SELECT count(*) FROM message JOIN session USING (session_id) WHERE session = %s"
        try:
            return self.stack.query(statement, [session])[0][0]
        except psycopg2.Error:
            return 0

    def finish(self, simulator, quiet_within_s=300):
        """Let the phones end and wait until all that was acknowledged has had its time to be stored."""
        simulator.send_signal(signal.SIGINT)
        simulator.wait(timeout=120)
        self.stack.wait_until_stored(quiet_within_s)

    def send(self, seconds, seed=1, phones=3):
        """Phones that send for `seconds`; returns their record when all is acknowledged."""
        record = self.directory / f"record-{seed}-{time.time_ns()}.jsonl"
        options = ("--phones", phones, "--seed", seed, "--record", record, "--duration", seconds)
        assert self.stack.simulate(*options, *CONDITIONS).wait(timeout=seconds + 120) == 0
        return record

    def log_of_stream(self):
        """What the stream has written, the runs before included."""
        return (self.stack.directory / "logs" / "stream.log").read_text(errors="replace")

    def run_of(self, *arguments):
        """`python -m ops.local ARGUMENTS` beside the running stack: status and output."""
        command = [sys.executable, "-m", "ops.local", *arguments]
        result = subprocess.run(
            command, check=False, cwd=REPOSITORY, env=self.stack.environment, capture_output=True, text=True, timeout=60
        )
        return result.returncode, result.stdout + result.stderr

    def close(self):
        """End all that runs."""
        for process in self.stack.simulators:
            if process.poll() is None:
                process.kill()
        if self.stack.process and self.stack.process.poll() is None:
            send(descendants(self.stack.process.pid), signal.SIGCONT)
            with contextlib.suppress(Exception):
                self.stack.stop()
        self.stack.kill_what_is_left()

    def keep_logs(self, target):
        """Copy the logs where a person finds them."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.stack.directory / "logs", target)
        shutil.copy(self.directory / "run.log", target)


def probe(device, session):
    """A message of one reading."""
    payload = [{"name": "probe", "time": time.time_ns(), "values": {"x": 1.0}}]
    return {"messageId": 0, "sessionId": session, "deviceId": device, "payload": payload}


def everything_runs(stack):
    """Whether all processes that there should be are there."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        parts = ("kafka", "postgres", "ingest", "stream", "dashboard")
        return (
            all(runs(stack.pid(part)) for part in parts)
            and len(PIDS["ingest worker"](stack)) == INGEST_WORKERS
            and bool(PIDS["jvm"](stack))
        )
    return False


def _part(name):
    def find(stack):
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = stack.pid(name)
            return [pid] if runs(pid) else []
        return []

    return find


def _below(target, word, find=children):
    def pids(stack):
        found = [pid for parent in PIDS[target](stack) for pid in find(parent)]
        return [pid for pid in found if word in command_of(pid) and runs(pid)]

    return pids


def _python_workers(stack):
    """The processes that the daemon of Spark's Python workers has forked."""
    daemons = _below("jvm", "pyspark.daemon")(stack)
    return [pid for daemon in daemons for pid in children(daemon)]


def _backends(stack):
    """The server processes that the stream's tasks are connected to."""
    try:
        with contextlib.closing(stack.database("exporter")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'stream' ORDER BY backend_start")
            return [pid for (pid,) in cursor.fetchall()]
    except psycopg2.Error:
        return []


PIDS = {
    "kafka": _part("kafka"),
    "postmaster": _part("postgres"),
    "ingest master": _part("ingest"),
    "driver": _part("stream"),
    "dashboard": _part("dashboard"),
    "ingest worker": _below("ingest master", "gunicorn"),
    "jvm": _below("driver", "java"),
    "python worker": _python_workers,
    "backend": _backends,
}
"""How to find the processes of each name."""


def second_stream(lab, **changes):
    """The environment of the running stream with `changes`, for another one beside it that is not the runner's.

    Its JVM has no exporter: the port is the first one's.
    """
    [driver] = lab.await_pids("driver")
    environment = os.environ | environment_of(driver)
    del environment["SENSOR_STREAM_PART"], environment["SPARK_DRIVER_JAVA_OPTIONS"]
    return environment | changes
