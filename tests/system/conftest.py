"""One stack for all system tests, started as `make run` starts it."""

import shutil
import tempfile
from pathlib import Path

import pytest
from stack import Stack


@pytest.fixture(scope="session")
def stack():
    """The running stack; stopped at the end, as with Ctrl-C."""
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-", dir="/tmp"))
    directory.chmod(0o755)  # PostgreSQL's user has to enter it, unlike pytest's own directories
    running = Stack(directory / "data")
    running.start()
    yield running
    running.stop()
    shutil.rmtree(directory)
