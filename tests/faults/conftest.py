"""Stacks that faults may hurt."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.lab import Lab
from tests.system.stack import REPOSITORY


@pytest.fixture(scope="module")
def new_lab(request):
    """Makes a lab that is not started yet; `settings` are environment variables of its stack."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            directory = Path(tempfile.mkdtemp(prefix="sensor-stream-faults-", dir="/tmp"))
            directory.chmod(0o755)  # PostgreSQL's user has to enter it
            lab = Lab(directory, **settings)
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            stack.callback(lab.close)
            stack.callback(lab.keep_logs, REPOSITORY / "artefacts" / request.module.__name__.rpartition(".")[2])
            return lab

        yield make


@pytest.fixture(scope="module")
def lab(new_lab):
    """A running stack of the module's own."""
    made = new_lab()
    made.stack.start()
    yield made
    made.stack.stop()
