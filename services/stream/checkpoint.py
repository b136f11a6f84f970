"""Spark's checkpoint, looked at before Spark reads it: after a crash or a full disk a file may be empty, cut or gone.

Spark refuses to start from such a one. Here it is put aside, and the stream begins anew at the oldest record that Kafka
holds: the ledger knows what has been stored, so that costs time and nothing else.
"""

import json
import shutil
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOOKED_AT: Final = 2
"""Spark reads the newest two files of each log; older ones only wait to be deleted."""
_KEPT_ASIDE: Final = 3
_CRC_HEAD: Final = b"crc\0\0\0\2\0"
"""Of the checksum files that Hadoop writes: a CRC-32 for each 512 bytes follows."""
_CRC_BYTES: Final = 512


def find_fault(checkpoint: Path) -> str:
    """What is wrong with the checkpoint, in a few words; empty if nothing is, or if there is none yet."""
    offsets, commits = _batches(checkpoint / "offsets"), _batches(checkpoint / "commits")
    if not (offsets or commits or (checkpoint / "metadata").exists()):
        return ""
    if commits and commits[-1] > (offsets[-1] if offsets else -1):
        return f"batch {commits[-1]} is committed, but its offsets are missing"
    newest = [
        *(checkpoint / "offsets" / str(batch) for batch in offsets[-_LOOKED_AT:]),
        *(checkpoint / "commits" / str(batch) for batch in commits[-_LOOKED_AT:]),
    ]
    for file in (checkpoint / "metadata", *(checkpoint / "sources").glob("*/0"), *newest):
        if fault := _fault_of(file):
            return f"{file.relative_to(checkpoint)} {fault}"
    return ""


def planned_offsets(checkpoint: Path, topic: str) -> dict[int, int]:
    """By partition: where the newest batch that was planned ends. Empty while there is none."""
    batches = _batches(checkpoint / "offsets")
    return _offsets(checkpoint / "offsets" / str(batches[-1]), topic) if batches else {}


def awaited_offsets(checkpoint: Path, topic: str) -> dict[int, int]:
    """By partition: the first offset that no committed batch holds. Empty while there is no checkpoint."""
    commits, first = _batches(checkpoint / "commits"), checkpoint / "sources" / "0" / "0"
    if commits:
        return _offsets(checkpoint / "offsets" / str(commits[-1]), topic)
    return _offsets(first, topic) if first.exists() else {}


def set_aside(checkpoint: Path) -> Path:
    """Give the checkpoint another name, for whoever wants to look at it; returns that. Only the newest few are kept."""
    aside = checkpoint.with_name(f"{checkpoint.name}.aside-{time.time_ns()}")
    checkpoint.rename(aside)
    for old in sorted(checkpoint.parent.glob(f"{checkpoint.name}.aside-*"))[:-_KEPT_ASIDE]:
        shutil.rmtree(old, ignore_errors=True)
    return aside


def _batches(directory: Path) -> list[int]:
    with suppress(FileNotFoundError):
        return sorted(int(file.name) for file in directory.iterdir() if file.name.isdecimal())
    return []


def _offsets(file: Path, topic: str) -> dict[int, int]:
    *_, last = file.read_bytes().splitlines()
    return {int(partition): offset for partition, offset in json.loads(last).get(topic, {}).items()}


def _fault_of(file: Path) -> str:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return "is missing"
    if not content:
        return "is empty"
    if not _is_whole(content, file.with_name(f".{file.name}.crc")):
        return "does not fit its checksum"
    try:
        lines = content.removeprefix(b"\0").decode().removeprefix("v1").splitlines()
        objects = [json.loads(line) for line in lines if line]
        return "" if objects and all(isinstance(each, dict) for each in objects) else "is cut"
    except ValueError:
        return "is cut"


def _is_whole(content: bytes, checksums: Path) -> bool:
    try:
        expected = checksums.read_bytes()
    except FileNotFoundError:
        return True
    found = [zlib.crc32(content[at : at + _CRC_BYTES]) for at in range(0, len(content), _CRC_BYTES)]
    return expected == _CRC_HEAD + b"".join(crc.to_bytes(4) for crc in found)
