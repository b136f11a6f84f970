"""One stack for all system tests, started as `make run` starts it."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.otlp import Receiver
from tests.system.stack import REPOSITORY, Stack

ARTEFACTS = REPOSITORY / "artefacts"


@pytest.fixture(scope="session")
def artefacts():
    """Where a run leaves what a person may want to look at afterwards."""
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    ARTEFACTS.mkdir()
    return ARTEFACTS


@pytest.fixture(scope="session")
def traces():
    """Where the stack's spans arrive."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def stack(artefacts, traces):
    """The running stack; stopped at the end, as with Ctrl-C."""
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-", dir="/tmp"))
    directory.chmod(0o755)  # PostgreSQL's user has to enter it, unlike pytest's own directories
    running = Stack(directory / "data", edge=True)
    running.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = traces.endpoint
    try:
        running.start()
        yield running
        running.stop()
    finally:
        shutil.copytree(running.directory / "logs", artefacts / "logs")
        shutil.copy(directory / "run.log", artefacts)
        running.kill_what_is_left()
        shutil.rmtree(directory)
