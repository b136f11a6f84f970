"""What the figures of a benchmark were measured on."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Processor, cores, memory and Python in one line."""
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    processor = models[0] if models else "unknown processor"
    return f"{processor}, {os.cpu_count()} cores, {memory_kib >> 20} GiB, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
