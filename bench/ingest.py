"""`make bench-ingest`: how fast ingest is, beside a plain server in the same run (bench/plain.py).

Messages of 100 readings (14 KB) over keep-alive connections, with tokens, metrics and traces at the default ratio;
Kafka over TLS with acks=all. One gunicorn worker on one core; generator (vegeta), broker and all else on another. After
each phase Kafka is asked whether all that was answered with 200 is there, once. Prints a table and, as its last line,
one JSON object.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import machine
from bench.parts import cpu_of
from bench.samples import growth_per_hour, sampling
from bench.vegeta import Outcome, Vegeta
from ops.local.certificates import make_certificates
from ops.local.processes import REPOSITORY, Command, start, stop, wait_until
from ops.local.settings import read_env_file
from tests.integration.ingest_server import TOKEN, Ingest, read_topic_from, topic_ends
from tests.otlp import Receiver
from tests.ports import free_ports
from tests.processes import descendants
from tests.servers import make_kafka, make_postgres

SERVER_CORE, OTHER_CORE = 1, 0
CONNECTIONS = 64
TARGETS = 3000  # sent again and again: a ledger drops what Kafka holds twice, and the check counts
FINEST_STEP = 100
USUAL_RATE = 200
MOST_P99_MS = 100
STEADY_PART_S = 60
HEADER = (
    f"{'':<10} {'server':<9} {'due/s':>6} {'200/s':>6} {'p50 ms':>7} {'p99 ms':>8} {'max ms':>8}  answers; "
    "ms from the time at which a message was due"
)
SESSION, NUMBER = re.compile(rb'"sessionId":"([^"]+)"'), re.compile(rb'"messageId":(\d+)')


def main() -> int:
    """Measure and print; the status says whether all that was acknowledged is in Kafka, once."""
    arguments = parse()
    os.sched_setaffinity(0, {OTHER_CORE})  # and all that is started from here, unless it is pinned elsewhere
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with ExitStack() as stack:
            bench = Bench(directory, stack)
            bench.run(arguments)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(bench.figures | {"lost": bench.lost, "doubled": bench.doubled, "machine": machine()}))
    return int(bool(bench.lost or bench.doubled))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round of each, for a first look")
    parser.add_argument("--rounds", type=int, default=3, help="of what is compared (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15, help="of each phase (%(default)s)")
    parser.add_argument("--overload", type=float, default=60, help="seconds of overload (%(default)s; 0: none)")
    parser.add_argument("--steady", type=float, default=1800, help="seconds at half of the best rate (%(default)s)")
    parser.add_argument("--best", type=float, default=1000, help="highest rate, without phase open (%(default)s)")
    parser.add_argument("--phases", default="usual,saturated,open,overload,steady", help="(%(default)s)")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.overload, arguments.steady = 1, 6, 10, 20
    return arguments


class Server:
    """A server under load: where it listens and what its messages are in."""

    def __init__(self, name: str, pid: int, port: int, targets: Path) -> None:
        self.name, self.pid, self.port, self.targets = name, pid, port, targets

    def cpu_s(self) -> float:
        """What its processes have used until now."""
        return sum(map(cpu_of, [self.pid, *descendants(self.pid)]))

    def rss_mib(self) -> float:
        """Memory of its processes."""
        pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in [self.pid, *descendants(self.pid)]]
        return sum(map(int, pages)) / 256


class Bench:
    """The servers, and the figures that were found."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.figures: dict[str, Any] = {}
        self.lost = self.doubled = 0
        self._directory = directory
        self._vegeta = Vegeta(directory, TOKEN)
        make_certificates(directory / "certificates")
        self._kafka = stack.enter_context(running(make_kafka(directory, directory / "certificates", "kafka")))
        self._postgres = stack.enter_context(running(make_postgres(directory, directory / "certificates", "postgres")))
        receiver = stack.enter_context(Receiver())
        listed = read_env_file((REPOSITORY / ".env_config").read_text(encoding="utf-8"))
        traces = {name: value for name, value in listed.items() if name.startswith("OTEL_TRACES_")}
        self._ours = self._start_ours(stack, "ingest", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **traces)
        self._untraced = self._start_ours(stack, "untraced")
        self._plain = self._start_plain(stack)

    def run(self, arguments: argparse.Namespace) -> None:
        """Every phase that was asked for."""
        print(HEADER, flush=True)
        for server in (self._ours, self._plain, self._untraced):
            self._open_loop("warm up", server, 100, 5)
        for phase in arguments.phases.split(","):
            getattr(self, phase)(arguments)
        self.figures["rss_mib"] = round(self._ours.rss_mib())

    # --- phases

    def usual(self, arguments: argparse.Namespace) -> None:
        """The usual rate, ours and the plain server in turn."""
        found: dict[str, list[Outcome]] = {"ingest": [], "plain": []}
        for _ in range(arguments.rounds):
            for server in (self._ours, self._plain):
                found[server.name].append(self._open_loop("usual", server, USUAL_RATE, arguments.seconds))
        for prefix, name in (("", "ingest"), ("plain_", "plain")):
            for percent in (50, 99):
                middle = statistics.median(outcome.percentile(percent) for outcome in found[name])
                self.figures[f"{prefix}p{percent}_ms"] = round(middle, 1)

    def saturated(self, arguments: argparse.Namespace) -> None:
        """As fast as 64 connections go: ours, ours without traces, and the plain server, each after each other one."""
        rates: dict[str, list[float]] = {}
        costs: dict[str, list[float]] = {}
        servers = deque((self._ours, self._untraced, self._plain))
        for _ in range(arguments.rounds):
            servers.rotate()
            for server in servers:
                before = server.cpu_s()
                outcome = self._closed_loop("saturated", server, CONNECTIONS, arguments.seconds)
                rates.setdefault(server.name, []).append(outcome.rate)
                costs.setdefault(server.name, []).append((server.cpu_s() - before) / outcome.codes[200] * 1000)
        rate = {name: statistics.median(found) for name, found in rates.items()}
        self.figures |= {
            "saturated_messages_per_s": round(rate["ingest"]),
            "plain_saturated_messages_per_s": round(rate["plain"]),
            "cpu_s_per_1000_messages": round(statistics.median(costs["ingest"]), 2),
            "plain_cpu_s_per_1000_messages": round(statistics.median(costs["plain"]), 2),
            "telemetry_tax_percent": round(100 * (1 - rate["ingest"] / rate["untraced"]), 1),
        }

    def open(self, arguments: argparse.Namespace) -> None:
        """The highest rate that is answered with 200 throughout, 99 of 100 within 100 ms."""
        best, step = 400, 400
        while step >= FINEST_STEP:
            outcome = self._open_loop("open loop", self._ours, best + step, arguments.seconds)
            if outcome.percentile(99) < MOST_P99_MS and set(outcome.codes) == {200}:
                best += step
            else:
                step //= 2
        self.figures["open_loop_messages_per_s"] = best

    def overload(self, arguments: argparse.Namespace) -> None:
        """Five times the highest rate: how much of it is still answered with 200, and that all are answered.

        The generator yields to the broker, with which it shares a core.
        """
        best = self._best(arguments)
        outcome = self._open_loop("overload", self._ours, 5 * best, arguments.overload, yielding=True)
        self.figures |= {
            "overload_goodput_percent": round(100 * outcome.rate / best, 1),
            "overload_wait_p99_ms": round(float(np.percentile(outcome.waits, 99)) * 1000),
            "overload_unanswered": outcome.codes[0],
            "overload_sent_per_s": round(outcome.codes.total() / outcome.seconds),
        }

    def steady(self, arguments: argparse.Namespace) -> None:
        """Half of the highest rate for a long time: does memory grow?

        In parts, after each of which Kafka is read: it keeps no more than that, and the bench holds no more.
        """
        rate = self._best(arguments) / 2
        parts = max(1, round(arguments.steady / STEADY_PART_S))
        with sampling(self._ours.rss_mib) as samples:
            for _ in range(parts):
                self._open_loop("steady", self._ours, rate, arguments.steady / parts)
        marks = [round(samples[quarter * (len(samples) - 1) // 4][1]) for quarter in range(5)]
        print(f"memory from the beginning to the end: {' '.join(map(str, marks))} MiB", flush=True)
        self.figures |= {"steady_seconds": arguments.steady, "steady_mib_per_hour": round(growth_per_hour(samples), 1)}

    # --- a phase

    def _best(self, arguments: argparse.Namespace) -> float:
        """The highest rate: found by the phase that looks for it, or as it was given."""
        return float(self.figures.get("open_loop_messages_per_s", arguments.best))

    def _open_loop(self, phase: str, server: Server, rate: float, seconds: float, *, yielding: bool = False) -> Outcome:
        before = topic_ends(self._kafka, self._kafka.topic)
        outcome = self._vegeta.open_loop(server.targets, rate, seconds, yielding=yielding)
        return self._take_down(phase, server, outcome, before, rate)

    def _closed_loop(self, phase: str, server: Server, connections: int, seconds: float) -> Outcome:
        before = topic_ends(self._kafka, self._kafka.topic)
        outcome = self._vegeta.closed_loop(server.targets, connections, seconds)
        return self._take_down(phase, server, outcome, before, None)

    def _take_down(
        self, phase: str, server: Server, outcome: Outcome, before: dict[int, int], due: float | None
    ) -> Outcome:
        """Look into Kafka, print a row."""
        self._check(outcome, before)
        most = outcome.latencies.max() * 1000
        latencies = f"{outcome.percentile(50):>7.1f} {outcome.percentile(99):>8.1f} {most:>8.1f}"
        answers = " ".join(f"{code}:{count}" for code, count in sorted(outcome.codes.items()))
        errors = " ".join(f"{text}:{count}" for text, count in outcome.errors.most_common(3))
        rates = f"{'' if due is None else round(due):>6} {outcome.rate:>6.0f}"
        print(f"{phase:<10} {server.name:<9} {rates} {latencies}  {answers} {errors}", flush=True)
        return outcome

    def _check(self, outcome: Outcome, before: dict[int, int]) -> None:
        """Each message is in Kafka as often as it was answered with 200; where it was not, it may be there too."""
        stored: Counter[str] = Counter()
        for record in read_topic_from(self._kafka, self._kafka.topic, before):
            session, number = (pattern.search(record.value())[1].decode() for pattern in (SESSION, NUMBER))
            stored[f"{session}:{number}"] += 1
        for name in outcome.accepted.keys() | stored.keys():
            missing = outcome.accepted[name] - stored[name]
            self.lost += max(missing, 0)
            self.doubled += max(-missing - outcome.others[name], 0)

    # --- servers

    def _start_ours(self, stack: ExitStack, name: str, **settings: str) -> Server:
        """Ingest as it runs in production, with one worker, on its core."""
        ingest = Ingest(self._directory, self._postgres, self._kafka, **settings)
        ingest.command = pinned(ingest.command, SERVER_CORE)
        stack.enter_context(ingest)
        assert wait_until(ingest.is_ready, 30)
        return Server(name, ingest.process.pid, ingest.port, self._vegeta.make_targets(ingest.port, TARGETS))

    def _start_plain(self, stack: ExitStack) -> Server:
        [port] = free_ports(1)
        bind = f"127.0.0.1:{port}"
        options = ["--worker-class", "gthread", "--threads", "16", "--bind", bind, "--no-control-socket"]
        arguments = [sys.executable, "-m", "gunicorn", *options, "bench.plain:make_app()"]
        command = Command(arguments, self._kafka.environment("ingest"))
        process = start(pinned(command, SERVER_CORE), self._directory / "plain.log", "bench")
        stack.callback(stop, process, command.stop_signal, 20)
        return Server("plain", process.pid, port, self._vegeta.make_targets(port, TARGETS))


@contextmanager
def running(server: Any) -> Iterator[Any]:
    """A broker or a cluster."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def pinned(command: Command, core: int) -> Command:
    """The command, kept to one core."""
    arguments = ["taskset", "-c", str(core), *command.arguments]
    return Command(arguments, command.environment, stop_signal=command.stop_signal)


if __name__ == "__main__":
    sys.exit(main())
