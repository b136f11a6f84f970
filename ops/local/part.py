"""One part of the stack: what it waits for, what it runs, and when it is ready."""

import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.local.errors import LocalError
from ops.local.processes import Command, end, find_marked, how_it_ended, start, stop, wait_until

CHILDREN_END_WITHIN_S = 3.0


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
    stop_within_s: float = 7.5


class Process:
    """A running part, its output in a log; it and all that it starts bear its mark."""

    def __init__(self, part: Part, log: Path, mark: str) -> None:
        assert part.command is not None
        self._part, self._mark = part, mark
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
        """Wait until it ends and end what it leaves behind: a crash must not keep its port. The return code."""
        status = self._popen.wait()
        patience_s = min(CHILDREN_END_WITHIN_S, self._part.stop_within_s)
        end(lambda: set(find_marked(self._mark.__eq__)), patience_s)
        return status

    def stop(self) -> bool:
        """End it and all that it started; returns whether it did so by itself in its time."""
        with self._stopping:
            by_itself = stop(self._popen, self._command.stop_signal, self._part.stop_within_s)
        self.wait()
        return by_itself
