"""Programs of the stack: each in a session of its own, ended by the kernel when the runner is gone, found by a mark."""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ops.local.errors import LocalError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
MARK: Final = "SENSOR_STREAM_PART"
"""The variable that every program of the stack, and whatever it starts, has in its environment."""
_TERMINAL_CODES: Final = re.compile(r"\x1b\[[0-9;]*m")
_ERROR_LINE: Final = re.compile(r"\[ERROR\]|[\w.]*Error\b|\w+: error:|\S.*\bERROR:")
_SAD_LINE: Final = re.compile(r"\b(ERROR|FATAL|CRITICAL|PANIC)\b|\w(Error|Exception)\b|\berror:")
_LONGEST_CAUSE: Final = 300
_KEPT_VARIABLES: Final = ("PATH", "HOME", "LANG", "TZ", "JAVA_HOME", "TMPDIR")


@dataclass(frozen=True)
class Command:
    """A program: its arguments, what it may know, where and as whom it runs, and the signal that ends it cleanly.

    `home`: a directory among the arguments that the program reaches even where `user` may not enter its parents.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = REPOSITORY
    user: str | None = None
    home: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def run(command: Command, what: str, text: str | None = None) -> str:
    """Run a program to its end with `text` as its input and return what it wrote.

    Raises `LocalError` with the line that names the cause when it fails.
    """
    with _reaching_home(command) as (arguments, descriptors):
        result = subprocess.run(
            arguments, input=text, capture_output=True, text=True, check=False, cwd=command.directory,
            env=_environment(command), pass_fds=descriptors,
        )  # fmt: skip
    if result.returncode:
        raise LocalError(f"{what}: {find_cause(result.stderr + result.stdout) or how_it_ended(result.returncode)}")
    return result.stdout


def start(command: Command, log_file: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start a program that goes on, its output added to `log_file`, itself and its children known by `mark`.

    Call it from a thread that lives as long as the runner: the kernel ends the program with the thread that made it.
    """
    with log_file.open("ab") as log, _reaching_home(command) as (arguments, descriptors):
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=command.directory,
            env=_environment(command) | {MARK: mark}, start_new_session=True, pass_fds=descriptors,
        )  # fmt: skip


def stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals, timeout_s: float) -> bool:
    """End a program; returns whether it did so by itself within `timeout_s` seconds."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Wait until `condition()` is true; false after `timeout_s` seconds or when `process` has ended before."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            return False
        time.sleep(0.05)
    return True


def find_marked(is_ours: Callable[[str], bool]) -> Iterator[int]:
    """The ids of running processes whose mark `is_ours`, children included."""
    prefix = f"{MARK}=".encode()
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for variable in (directory / "environ").read_bytes().split(b"\0"):
                if variable.startswith(prefix) and is_ours(variable[len(prefix) :].decode(errors="replace")):
                    yield int(directory.name)


def find_working_in(directory: Path) -> Iterator[int]:
    """The ids of running processes whose working directory is `directory`."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == directory.resolve():
                yield int(link.parent.name)


def end(find: Callable[[], set[int]], patience_s: float) -> int:
    """End all processes that `find` finds, kindly and after `patience_s` seconds not; returns how many there were.

    Raises `LocalError` when one does not end at all.
    """
    found = find()
    _signal(found, signal.SIGTERM)
    if not wait_until(lambda: not find(), patience_s):
        _signal(find(), signal.SIGKILL)
        if not wait_until(lambda: not find(), 10):
            raise LocalError(f"process {min(find())} of an earlier run does not end: end it, then try again")
    return len(found)


def how_it_ended(status: int) -> str:
    """A return code in words."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def find_cause(output: str) -> str:
    """The line of a program's output that names what went wrong: its first error, else its last word."""
    lines = [line for line in _TERMINAL_CODES.sub("", output).splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.match(line)]
    return (errors[:1] or lines[-1:] or [""])[0].strip().removeprefix("[ERROR] ")[:_LONGEST_CAUSE]


def user_ids(user: str) -> tuple[int, int]:
    """User and group id of `user`. Raises `LocalError` when there is none."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise LocalError(
            f"there is no user {user!r} on this machine: install PostgreSQL's package, or make it"
        ) from None
    return entry.pw_uid, entry.pw_gid


def last_words(log_file: Path) -> str:
    """What a program that ended had to say about it: its last error, else its last line; empty if it said nothing."""
    lines = [line for line in last_lines(log_file, 40) if not line.startswith((" ", "\t"))]
    errors = [line for line in lines if _SAD_LINE.search(line)]
    return (errors[-1:] or lines[-1:] or [""])[0].strip()[:_LONGEST_CAUSE]


def last_lines(log_file: Path, count: int) -> list[str]:
    """The last lines of a log that say something."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 20_000))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


@contextlib.contextmanager
def _reaching_home(command: Command) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The arguments, and an open descriptor that stands in them for a home that the user may not walk to."""
    if command.user is None or command.home is None:
        yield _as_user(command), ()
        return
    descriptor = os.open(command.home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        arguments = _as_user(command)
        yield [one.replace(str(command.home), f"/proc/self/fd/{descriptor}") for one in arguments], (descriptor,)
    finally:
        os.close(descriptor)


def _as_user(command: Command) -> list[str]:
    """The kernel forgets the death signal when a process changes its user: `setpriv` sets it after that."""
    number = command.stop_signal.name.removeprefix("SIG")
    wrapper = ["setpriv", "--pdeathsig", number]
    if command.user:
        wrapper += ["--reuid", command.user, "--regid", command.user, "--init-groups", "--no-new-privs"]
    return [*wrapper, *command.arguments]


def _environment(command: Command) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {"LC_ALL": "C.UTF-8"} | kept | dict(command.environment)


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
