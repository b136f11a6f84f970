"""Starts the parts as soon as what they need is ready, keeps them running, stops them in reverse order."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ops.local.errors import LocalError, in_words
from ops.local.part import Part, Process
from ops.local.processes import find_marked, how_it_ended, last_lines, last_words

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 10.0


class Supervisor:
    """One thread per part: it waits for what the part needs, starts it, and starts it again when it ends."""

    def __init__(
        self, parts: Sequence[Part], data: Path, addresses: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._parts = parts
        self._addresses = dict(addresses)
        self._data = data
        self._say = say
        self._ready = {part.name: threading.Event() for part in parts}
        self._processes: dict[str, Process] = {}
        self._causes: dict[str, str] = {}
        self._stopping = threading.Event()
        self._changed = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.failed = threading.Event()
        self._announced = False
        self._state_file.unlink(missing_ok=True)
        (data / "logs").mkdir(exist_ok=True)

    def start(self) -> bool:
        """Start everything; True once all parts are ready, False when one failed or the start was given up."""
        for part in self._parts:
            keep_old(self._log(part))
            thread = threading.Thread(target=self._run, args=(part,), name=part.name, daemon=True)
            thread.start()
            self._threads.append(thread)
        while not all(event.is_set() for event in self._ready.values()):
            if self.failed.is_set() or self._stopping.is_set():
                return False
            time.sleep(0.05)
        self._announced = True
        self._write_state()
        return True

    def stop(self) -> None:
        """Stop the parts in reverse order: those that do not depend on each other together."""
        self._stopping.set()
        self._state_file.unlink(missing_ok=True)
        for level in reversed(levels(self._parts)):  # what depends on another part goes before it
            stoppers = [threading.Thread(target=self._stop, args=(part,)) for part in level]
            for thread in stoppers:
                thread.start()
            for thread in stoppers:
                thread.join()

    def give_up(self) -> None:
        """Make `start` return."""
        self._stopping.set()

    def _run(self, part: Part) -> None:
        for name in part.after:
            while not self._ready[name].wait(0.1):
                if self._stopping.is_set() or self.failed.is_set():
                    return
        try:
            self._first_start(part)
        except Exception as error:  # whatever it is: nobody may wait for this part for ever
            if not self._stopping.is_set():
                self._tell_failure(part, in_words(error))
                self.failed.set()
            return
        if part.command:  # this thread stays: the kernel takes its end for the end of the process's parent
            self._watch(part)

    def _first_start(self, part: Part) -> None:
        self._say(f"{part.name:<13} starting")
        started = time.monotonic()
        part.prepare()
        if part.command:
            self._spawn(part).await_ready()
        part.finish()
        if not self._stopping.is_set():
            self._say(f"{part.name:<13} ready    {time.monotonic() - started:5.1f} s")
            self._ready[part.name].set()

    def _watch(self, part: Part) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            status = self._processes[part.name].wait()
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE_S if time.monotonic() - began > STEADY_AFTER_S else pause
            cause = self._causes.pop(part.name, "") or self._cause(part, status)
            self._say(f"{part.name:<13} ended    starts again in {pause:.0f} s: {cause}")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            self._start_again(part)

    def _cause(self, part: Part, status: int) -> str:
        said = "" if status < 0 else last_words(self._log(part))
        return said or how_it_ended(status)

    def _start_again(self, part: Part) -> None:
        started = time.monotonic()
        try:
            self._spawn(part).await_ready()
        except (LocalError, OSError) as error:
            if not self._stopping.is_set():
                self._causes[part.name] = in_words(error)
                self._processes[part.name].stop()
            return
        self._say(f"{part.name:<13} ready    {time.monotonic() - started:5.1f} s, again")

    def _spawn(self, part: Part) -> Process:
        with self._changed:
            if self._stopping.is_set():
                raise LocalError("the stack is being stopped")
            process = Process(part, self._log(part), mark(self._data, part.name))
            self._processes[part.name] = process
        if self._announced:
            self._write_state()
        return process

    def _stop(self, part: Part) -> None:
        with self._changed:
            process = self._processes.get(part.name)
        if process and process.stop():
            part.ended()

    def _tell_failure(self, part: Part, cause: str) -> None:
        self._say(f"{part.name:<13} failed   {cause}")
        for line in last_lines(self._log(part), 8) if part.command else ():
            self._say(f"    {line}")

    def _log(self, part: Part) -> Path:
        return self._data / "logs" / f"{part.name}.log"

    @property
    def _state_file(self) -> Path:
        return self._data / "state.json"

    def _write_state(self) -> None:
        """Where to find the running parts, for tests and tools; written whole or not at all."""
        with self._changed:
            parts = {name: {"pid": process.pid} for name, process in self._processes.items()}
            state = {"pid": os.getpid(), "parts": parts, "addresses": self._addresses}
            new = self._state_file.with_suffix(".new")
            new.write_text(json.dumps(state, indent=1), encoding="utf-8")
            new.replace(self._state_file)


def mark(data: Path, part: str) -> str:
    """What tells the processes of a part from all others on this machine."""
    return f"{data}|{part}"


def find_leftovers(data: Path) -> set[int]:
    """The processes of all parts that run over this data directory."""
    return set(find_marked(lambda found: found.rpartition("|")[0] == str(data)))


def levels(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts in groups: each needs only parts of the groups before its own."""
    groups: list[list[Part]] = []
    done: set[str] = set()
    waiting = list(parts)
    while waiting:
        group = [part for part in waiting if set(part.after) <= done]
        if not group:
            raise LocalError(f"these parts wait for each other: {', '.join(part.name for part in waiting)}")
        groups.append(group)
        done |= {part.name for part in group}
        waiting = [part for part in waiting if part.name not in done]
    return groups


def keep_old(log: Path) -> None:
    """Put the log of the run before aside."""
    if log.exists():
        log.replace(log.with_suffix(".log.old"))


def say(text: str) -> None:
    """One line for the person at the terminal."""
    sys.stdout.write(f"{text}\n")  # one write: several parts speak at once
    sys.stdout.flush()
