"""What runs again when the source changes, in developers' containers."""

import os
import signal
import subprocess
import time

import pytest

from tests.compose_file import REPOSITORY

RELOAD = REPOSITORY / "ops" / "images" / "reload"


@pytest.fixture
def source(tmp_path):
    (tmp_path / "services").mkdir()
    file = tmp_path / "services" / "module.py"
    file.write_text("")
    return file


def start(source, program):
    """Run a shell's program by it, from beside the source."""
    return subprocess.Popen(
        [RELOAD, "sh", "-c", program], cwd=source.parents[1], env=os.environ | {"PYTHONPATH": str(source.parents[1])}
    )


def await_lines(file, count):
    deadline = time.monotonic() + 10
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_change_starts_the_command_again(source, tmp_path):
    """The one before is ended first; a signal ends both."""
    log = tmp_path / "log"
    running = start(source, "echo $$ >> log; exec sleep 60")
    try:
        await_lines(log, 1)
        source.write_text("changed")
        await_lines(log, 2)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == -signal.SIGTERM % 256
    for process in log.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_command_that_ends_ends_it(source):
    """With its status: the container's restart policy decides."""
    assert start(source, "exit 3").wait(10) == 3
