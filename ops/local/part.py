"""One part of the stack: what it waits for, what it runs, and when it is ready."""

import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.local.errors import LocalError
from ops.local.processes import Command, start, stop, wait_until


@dataclass(frozen=True, kw_only=True)
class Part:
    """What to do for one part, in order: `prepare`, then run `command` until `is_ready`, then `finish`.

    `after` names the parts that must be ready before. A part without a command is done when it is prepared.
    `command` is asked for at each start; `ended` is called after a clean stop.
    """

    name: str
    after: Sequence[str] = ()
    prepare: Callable[[], None] = lambda: None
    command: Callable[[], Command] | None = None
    is_ready: Callable[[], bool] = lambda: True
    finish: Callable[[], None] = lambda: None
    ended: Callable[[], None] = lambda: None
    ready_within_s: float = 120
    stop_within_s: float = 10
    restarts: bool = True


class Process:
    """A running part, its output in a log."""

    def __init__(self, part: Part, log: Path, mark: str) -> None:
        assert part.command is not None
        self._part = part
        self._command = part.command()
        self._popen: subprocess.Popen[bytes] = start(self._command, log, mark)
        self._stopping = threading.Lock()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def await_ready(self) -> None:
        """Wait until the part answers. Raises `LocalError` when it ends or does not answer in time."""
        if wait_until(self._part.is_ready, self._part.ready_within_s, self._popen):
            return
        if self._popen.poll() is not None:
            raise LocalError(f"it ended while starting ({how_it_ended(self._popen.returncode)})")
        raise LocalError(f"it was not ready within {self._part.ready_within_s:.0f} s")

    def wait(self) -> int:
        """Wait until it ends; the return code as of `subprocess`."""
        return self._popen.wait()

    def stop(self) -> bool:
        """End it; returns whether it did so by itself in its time."""
        with self._stopping:
            return stop(self._popen, self._command.stop_signal, self._part.stop_within_s)


def how_it_ended(status: int) -> str:
    """A return code in words."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"
