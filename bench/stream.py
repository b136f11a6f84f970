"""`make bench-stream`: how fast the stream is, alone and in the whole stack, on this machine.

Phones of 500 readings/s, messages of 0.2 s. "Stream alone": records put straight into Kafka, from the broker's time
to the row visible to a reader. "Whole stack": from the POST through ingest. "Plain": the stream's job as one loop in
Python without Spark, the yardstick. Prints a table and, as its last line, one JSON object.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench.check import fill, sessions_of
from bench.machine import machine
from bench.parts import cpu_of, cpu_seconds, memory_mib, processes
from bench.phones import READINGS
from bench.samples import growth_per_hour, sampling
from bench.senders import Send, sending, to_ingest, to_kafka
from bench.watch import Figures, Watch
from tests.integration.browser import Browser
from tests.otlp import Receiver
from tests.processes import environment_of, send
from tests.system.stack import REPOSITORY, Stack

LONG_S = 600
DRAIN_PHONES = 40
TAX_ROUNDS, TAX_WARM_UP_S = 3, 10


def main() -> int:
    """Measure and print; the status says whether all that was sent is stored once."""
    arguments = parse()
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-bench-", dir="/tmp"))
    directory.chmod(0o755)
    figures: dict[str, Any] = {}
    try:
        with running(directory, "stack", traced=True) as stack:
            bench = Bench(stack, arguments.warm_up)
            bench.warm(arguments.warm_up)
            run_phases(bench, arguments)
        if arguments.tax:
            figures["telemetry_tax_percent"] = telemetry_tax(directory, arguments.tax)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures |= bench.figures | {"lost": bench.lost, "doubled": bench.doubled, "machine": machine()}
    print(json.dumps(figures))
    return int(bool(bench.lost or bench.doubled))


@contextmanager
def running(directory: Path, name: str, *, traced: bool) -> Iterator[Stack]:
    """A stack of its own that exports its traces to a receiver here, or makes none."""
    print(f"starting the stack{'' if traced else ', without traces'}", flush=True)
    stack = Stack(directory / name / "data")
    stack.directory.parent.mkdir(mode=0o755)
    with Receiver() as receiver:
        stack.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint if traced else ""}
        try:
            stack.start()
            yield stack
            stack.stop()
        finally:
            stack.kill_what_is_left()


def telemetry_tax(directory: Path, readings: int) -> float:
    """By how many percent a backlog takes longer with traces than without: medians of three of each, in turn."""
    rates: dict[str, list[int]] = {"traced": [], "untraced": []}
    for turn in range(TAX_ROUNDS):
        for name, found in rates.items():
            with running(directory, f"{name}-{turn}", traced=name == "traced") as stack:
                bench = Bench(stack, 0)
                bench.warm(TAX_WARM_UP_S)
                bench.drain(name, readings)
                found.append(bench.figures[f"{name}_readings_per_s"])
    return round(100 * (1 - statistics.median(rates["traced"]) / statistics.median(rates["untraced"])), 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", default="1,10,40,80,160", help="stream alone (%(default)s; empty: none)")
    parser.add_argument("--stack-phones", default="1,10,40,60,80", help="whole stack (%(default)s; empty: none)")
    parser.add_argument("--plain-phones", default="10,40,80", help="plain Python (%(default)s; empty: none)")
    parser.add_argument("--seconds", type=float, default=60, help="of each phase (%(default)s)")
    parser.add_argument("--long", type=float, default=LONG_S, help="of those that show a flat lag (%(default)s)")
    parser.add_argument("--warm-up", type=float, default=20, help="left out of each phase, seconds (%(default)s)")
    parser.add_argument("--drain", type=int, default=5_000_000, help="readings of the backlog (%(default)s)")
    parser.add_argument("--tax", type=int, default=1_000_000, help="readings of each backlog to learn what traces cost")
    parser.add_argument("--grown", type=float, default=0, help="million windows to fill in before 10 phones again")
    parser.add_argument("--memory", type=float, default=0, help="seconds of 10 phones that show whether memory grows")
    parser.add_argument("--no-viewer", dest="viewer", action="store_false", help="whole stack without a browser")
    return parser.parse_args()


def run_phases(bench: "Bench", arguments: argparse.Namespace) -> None:
    """Every phase that was asked for."""
    print(HEADER, flush=True)
    for phones in numbers(arguments.phones):
        bench.load("stream", to_kafka, phones, arguments.long if phones == 80 else arguments.seconds)
    if arguments.drain:
        bench.drain("drain", arguments.drain)
    if arguments.grown:
        fill(lambda: bench.stack.database("owner"), sessions_of(arguments.grown), with_ledger=False)
        bench.load("grown", to_kafka, 10, arguments.seconds)
    if whole := numbers(arguments.stack_phones):
        with viewer(bench.stack) if arguments.viewer else nullcontext():
            for phones in whole:
                bench.load("stack", to_ingest, phones, arguments.long if phones == 40 else arguments.seconds)
    if arguments.memory:
        bench.memory(arguments.memory)
    if plain := numbers(arguments.plain_phones):
        with bench.plain():
            for phones in plain:
                bench.load("plain", to_kafka, phones, arguments.seconds)
            if arguments.drain:
                bench.drain("plain_drain", arguments.drain)


@contextmanager
def viewer(stack: Stack) -> Iterator[None]:
    """A person who looks at the newest recording's Live page, in a real browser on the same machine."""
    with tempfile.TemporaryDirectory(prefix="bench-viewer-") as profile:
        browser = Browser(Path(profile), 1440, 1000)
        try:
            browser.sign_in(stack.dashboard_url, "admin", stack.first_password)
            yield
        finally:
            browser.quit()


def numbers(text: str) -> list[int]:
    """Numbers with commas between."""
    return [int(number) for number in text.split(",") if number]


HEADER = (
    f"{'':<12} {'phones':>6} {'seconds':>7} {'readings/s':>10} {'p50':>6} {'p90':>6} {'p99':>6} {'drift':>6}  "
    f"{'lost':>4} {'twice':>5}  CPU s per million readings; ms from the broker (stack: from the POST)"
)


class Bench:
    """The running stack, and the figures that were found."""

    def __init__(self, stack: Stack, warm_up_s: float) -> None:
        self.stack = stack
        self.warm_up_s = warm_up_s
        self.figures: dict[str, Any] = {"cpu_s_per_million_readings": {}, "rss_mib": {}}
        self.lost = self.doubled = 0
        self._plain: subprocess.Popen[bytes] | None = None

    def warm(self, seconds: float) -> None:
        """Let every compiler do its work before anything is measured."""
        for send_to in (to_kafka, to_ingest):
            with Watch(self.stack) as watch, sending(send_to, self.stack, 10, seconds) as outcome:
                watch.await_stored(outcome().sent, 60)

    def load(self, name: str, send_to: Send, phones: int, seconds: float) -> None:
        """`phones` send for `seconds` after the warm-up; adds median and 99th percentile to the figures."""
        before = self._cpu()
        with Watch(self.stack) as watch, sending(send_to, self.stack, phones, self.warm_up_s + seconds) as outcome:
            sent, failed, sender_cpu_s, late_s = outcome()
            watch.await_stored(sent, 30)
            readings = len(sent) * READINGS
            cpu = self._cpu_since(before, readings, sender_cpu_s)
            found = watch.figures(sent, self.warm_up_s, from_broker=send_to is to_kafka)
        key = f"{name}_{phones}"
        self.figures |= {f"{key}_p50_ms": found.p50, f"{key}_p99_ms": found.p99, f"{key}_drift_ms": found.drift}
        kept_up = not failed and found.drift < max(found.p50, 200)
        rate = round(readings / (self.warm_up_s + seconds))
        if name == "stack" and kept_up:
            self.figures["stack_max_readings_per_s"] = rate
        self._note(key, found, cpu)
        notes = f"  {failed} not acknowledged" if failed else ""
        notes += f"  sender up to {late_s:.1f} s late" if late_s > 1 else ""
        print_row((name, phones, seconds, rate), found, cpu, notes)

    def memory(self, seconds: float) -> None:
        """Whether the memory of a part grows while 10 phones send through the whole stack, in MiB an hour."""
        with sampling(lambda: memory_mib(self.stack), max(1.0, seconds / 120)) as samples:
            self.load("memory", to_ingest, 10, seconds)
        growth: dict[str, float] = {}
        for part in samples[0][1]:
            sizes = [(at, sizes[part]) for at, sizes in samples]
            growth[part] = round(growth_per_hour(sizes), 1)
            marks = " ".join(str(sizes[number * (len(sizes) - 1) // 4][1]) for number in range(5))
            print(f"{part:<16} {marks} MiB from the beginning to the end; {growth[part]} MiB an hour", flush=True)
        self.figures |= {"memory_seconds": seconds, "memory_mib_per_hour": growth}

    def drain(self, name: str, readings: int) -> None:
        """A backlog gathers while the stream is stopped; then it is stored as fast as it goes."""
        messages = readings // READINGS // DRAIN_PHONES
        with Watch(self.stack) as watch:
            stopped = self._stream_processes()
            send(stopped, signal.SIGSTOP)
            try:
                with sending(to_kafka, self.stack, DRAIN_PHONES, None, messages) as outcome:
                    sent, *_ = outcome()
            finally:
                before = self._cpu()
                began = time.time()
                send(stopped, signal.SIGCONT)
            watch.await_stored(sent, 60)
            seconds = time.time() - began
            cpu = self._cpu_since(before, len(sent) * READINGS, 0)
            found = watch.figures(sent, 0, from_broker=True)
        rate = round(len(sent) * READINGS / seconds)
        self.figures[f"{name}_readings_per_s"] = rate
        self._note(name, found, cpu)
        print_row((name, DRAIN_PHONES, seconds, rate), found, cpu)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """The plain loop in the place of Spark, which is stopped meanwhile."""
        [driver] = [self.stack.pid("stream")]
        environment = os.environ | environment_of(driver)
        stopped = self._stream_processes()
        send(stopped, signal.SIGSTOP)
        command = [sys.executable, "-m", "bench.plain_stream"]
        self._plain = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE)
        assert self._plain.stdout is not None
        try:
            assert self._plain.stdout.readline() == b"ready\n"
            yield
        finally:
            self._plain.kill()
            self._plain.wait()
            send(stopped, signal.SIGCONT)

    def _stream_processes(self) -> list[int]:
        if self._plain:
            return [self._plain.pid]
        found = processes(self.stack)
        return [*found["spark jvm"], *found["stream python"]]

    def _cpu(self) -> dict[str, float]:
        plain = {"plain": cpu_of(self._plain.pid)} if self._plain else {}
        return cpu_seconds(self.stack) | plain

    def _cpu_since(self, before: dict[str, float], readings: int, sender_s: float) -> dict[str, float]:
        """CPU seconds per million readings."""
        spent = {part: seconds - before[part] for part, seconds in self._cpu().items()} | {"sender": sender_s}
        return {part: round(seconds / readings * 1e6, 2) for part, seconds in spent.items()}

    def _note(self, key: str, found: Figures, cpu: dict[str, float]) -> None:
        self.lost += found.lost
        self.doubled += found.doubled
        self.figures["cpu_s_per_million_readings"][key] = cpu
        self.figures["rss_mib"] = memory_mib(self.stack)


def print_row(what: tuple[str, int, float, int], found: Figures, cpu: dict[str, float], notes: str = "") -> None:
    """One line of the table: name, phones, seconds and readings/s, then what was found."""
    name, phones, seconds, rate = what
    shown = ", ".join(f"{part} {value:.1f}" for part, value in cpu.items() if value >= 0.05)
    print(
        f"{name:<12} {phones:>6} {seconds:>7.0f} {rate:>10,} {found.p50:>6} {found.p90:>6} {found.p99:>6} "
        f"{found.drift:>6}  {found.lost:>4} {found.doubled:>5}  {shown}{notes}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
