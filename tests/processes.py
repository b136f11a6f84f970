"""Finding processes by what they are, as an operator would with `ps`."""

import contextlib
import os
import signal
from pathlib import Path


def children(pid):
    """The ids of the processes that `pid` has started."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid):
    """The ids of all that `pid` and its children have started."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def command_of(pid):
    """The command line; empty for a process that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def environment_of(pid):
    """The environment that the process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def runs(pid):
    """Whether the process is there and is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def send(pids, number):
    """Signal all of them; one that has ended needs none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids):
    """kill -9."""
    send(pids, signal.SIGKILL)
