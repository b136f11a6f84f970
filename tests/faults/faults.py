"""The faults. Each has a name, the time within which everything works again, and is injected and healed by the driver.

`inject(lab)` returns when the harm is done, `heal(lab)` ends what does not end by itself. What happens by
chance comes from `lab.random` alone, so that a seed tells all of it.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.faults.lab import second_stream
from tests.ports import free_ports, is_taken
from tests.processes import kill, runs, send
from tests.system.stack import REPOSITORY, wait_until

WORKER_S, SERVER_S, SPARK_S, EVERYTHING_S = 5, 30, 60, 120
"""The bounds: an ingest worker; Kafka or PostgreSQL; Spark; everything."""


@dataclass(frozen=True)
class Fault:
    """What all faults share; `bound_s` counts from the healing."""

    name: str
    bound_s: float

    def inject(self, lab):
        raise NotImplementedError

    def heal(self, lab):
        """Nothing to do where the stack heals itself."""


@dataclass(frozen=True)
class Kill(Fault):
    """kill -9 of one of the processes that are `target`."""

    target: str

    def inject(self, lab):
        pid = lab.random.choice(lab.await_pids(self.target))
        kill([pid])
        wait_until(lambda: not runs(pid), 10, f"{self.target} has ended")


@dataclass(frozen=True)
class KillEverything(Fault):
    """kill -9 of the runner and of every part at once, and the next start."""

    def inject(self, lab):
        lab.stack.kill_everything()

    def heal(self, lab):
        lab.stack.start()


@dataclass(frozen=True)
class KillAt(Fault):
    """kill -9 of the whole stream while it waits at a named point of a micro-batch."""

    point: str

    def inject(self, lab):
        lab.hold(self.point)
        lab.end_stream()

    def heal(self, lab):
        lab.let_go(self.point)


@dataclass(frozen=True)
class KillAround(Fault):
    """kill -9 of the whole stream at a moment that its checkpoint shows, which is written between micro-batches.

    `planning`: the offsets of the next micro-batch are being written; `planned`: they are there and the micro-batch is
    not committed; `committed`: it is, and the next one is not planned. The JVM is stopped as soon as the moment is
    seen; if it was quicker, it goes on until the next one.
    """

    moment: str

    def inject(self, lab):
        for _ in range(500):
            [jvm] = lab.await_pids("jvm")
            self._await_moment(lab)
            send([jvm], signal.SIGSTOP)
            if self._is_now(lab):
                return lab.end_stream()
            send([jvm], signal.SIGCONT)
        raise AssertionError(f"the stream was never caught {self.moment}")

    def _await_moment(self, lab):
        """Without a pause between two looks: the moment may be a millisecond long."""
        before, deadline = self._newest(lab), time.monotonic() + 120
        while time.monotonic() < deadline:
            if self._is_now(lab) and (self.moment == "planning" or self._newest(lab) > before):
                return

    def _newest(self, lab):
        return max(batches(lab.checkpoint / ("commits" if self.moment == "committed" else "offsets")), default=-1)

    def _is_now(self, lab):
        if self.moment == "planning":
            return any(name.endswith(".tmp") for name in names(lab.checkpoint / "offsets"))
        planned, committed = (max(batches(lab.checkpoint / of), default=-1) for of in ("offsets", "commits"))
        return planned > committed if self.moment == "planned" else planned == committed


@dataclass(frozen=True)
class Pause(Fault):
    """SIGSTOP of all processes that are `target`, for some seconds: nothing answers and nothing is closed."""

    target: str
    seconds: float

    def inject(self, lab):
        stopped = lab.await_pids(self.target)
        send(stopped, signal.SIGSTOP)
        try:
            time.sleep(self.seconds)  # the fault itself
        finally:
            send(stopped, signal.SIGCONT)


@dataclass(frozen=True)
class Restart(Fault):
    """An orderly end, as by an operator; the runner starts the part again."""

    target: str

    def inject(self, lab):
        [pid] = lab.await_pids(self.target)
        send([pid], signal.SIGINT if self.target == "postmaster" else signal.SIGTERM)
        wait_until(lambda: not runs(pid), 60, f"{self.target} has ended")


@dataclass(frozen=True)
class SpoilCheckpoint(Fault):
    """The stream is killed and its checkpoint deleted, a file of it emptied, or one cut in the middle."""

    how: str

    def inject(self, lab):
        lab.end_stream()
        if self.how == "delete":
            wait_until(lambda: gone(lab.checkpoint), 10, "the checkpoint is deleted")
            return
        directory = lab.checkpoint / lab.random.choice(["offsets", "commits", "metadata"])
        file = directory if directory.is_file() else directory / str(max(batches(directory)))
        content = file.read_bytes()
        file.write_bytes(b"" if self.how == "empty" else content[: len(content) // 2])


@dataclass(frozen=True)
class SecondStream(Fault):
    """Another stream beside the first one for a while, with a new checkpoint of its own or by mistake with the same."""

    same_checkpoint: bool

    def inject(self, lab):
        [port] = free_ports(1)
        changes = {"STREAM_METRICS_PORT": str(port)}
        if not self.same_checkpoint:
            changes["CHECKPOINT_DIR"] = str(lab.directory / f"second-checkpoint-{port}")
        environment = second_stream(lab, **changes)
        with (lab.stack.directory / "logs" / "second-stream.log").open("ab") as log:
            command = [sys.executable, "-m", "services.stream"]
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(lambda: process.poll() is not None or is_taken(port), 120, "the second stream runs")
            assert process.poll() is None, "the second stream has never run"
            process.wait(timeout=lab.random.uniform(25, 40))
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def gone(directory):
    """Delete a directory; whether it is gone for good: its writer may not have ended yet."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def names(directory):
    """The names of the files in a directory."""
    with os.scandir(directory) as entries:
        return {entry.name for entry in entries}


def batches(directory):
    """The numbers of the batches that a directory of the checkpoint holds."""
    return {int(name) for name in names(directory) if re.fullmatch(r"\d+", name)}
