"""One stack for all system tests, started as `make run` starts it."""

import pytest
from stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The running stack; stopped at the end, as with Ctrl-C."""
    directory = tmp_path_factory.mktemp("system", numbered=True)
    directory.chmod(0o755)
    running = Stack(directory / "data")
    running.start()
    yield running
    running.stop()
