"""A full disk under each part that writes: waited out, and healed without help once there is room."""

import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.system.stack import wait_until
from tests.system.stored import compare

pytestmark = pytest.mark.long
FULL_S = 30


@contextmanager
def small_disk(directory, mebibytes):
    """A file system of that size at `directory`, in memory."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(directory)], check=True, timeout=30
    )
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, timeout=30)


def fill(directory):
    """Take all the room that is left; returns the file that does."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


@pytest.mark.parametrize(("part", "mebibytes"), [("kafka/data", 256), ("postgres", 512), ("checkpoint", 4)])
def test_full_disk(new_lab, part, mebibytes):
    """While the disk of one part is full nothing is lost; when there is room again everything works by itself."""
    lab = new_lab()
    with small_disk(lab.stack.directory / part, mebibytes) as directory:
        lab.stack.start()
        record = lab.directory / "record.jsonl"
        simulator = lab.start_phones(record, 3, 5)
        wait_until(lambda: record.exists() and record.stat().st_size > 0, 60, "the first answer comes")
        lab.await_whole(120)
        filler = fill(directory)
        time.sleep(FULL_S)  # the fault itself
        filler.unlink()
        began = time.monotonic()
        lab.await_whole(300)
        print(f"{part}: works again after {time.monotonic() - began:.0f} s")
        lab.finish(simulator)
        assert compare(lab.stack, record)
        lab.stack.stop()
