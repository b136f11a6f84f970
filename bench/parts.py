"""CPU time and memory of the running stack, by part."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.processes import children, command_of, descendants
from tests.system.stack import Stack

_TICKS: Final = os.sysconf("SC_CLK_TCK")
SERVICES: Final = ("kafka", "postgres", "ingest", "dashboard", "prometheus")


def processes(stack: Stack) -> dict[str, list[int]]:
    """The ids of each part's processes; the stream's are told apart: Spark's JVM and Python."""
    found = {}
    for part in SERVICES:
        with suppress(KeyError):
            pid = stack.pid(part)
            found[part] = [pid, *descendants(pid)]
    driver = stack.pid("stream")
    [jvm] = [pid for pid in children(driver) if "java" in command_of(pid)]
    found["spark jvm"] = [jvm]
    found["stream python"] = [driver, *descendants(jvm)]
    return found


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """What each part has used until now, children that have ended included."""
    return {part: sum(map(cpu_of, pids)) for part, pids in processes(stack).items()}


def memory_mib(stack: Stack) -> dict[str, int]:
    """Memory of each part, shared pages shared out among those that share them (PSS)."""
    return {part: sum(map(_pss_kib, pids)) >> 10 for part, pids in processes(stack).items()}


def cpu_of(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def _pss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
