"""`make test-upgrade FROM=v0.1.0`: this version over the data of an earlier one."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from deployment import Deployment, stored_once

from tests.compose_file import REPOSITORY

pytestmark = pytest.mark.long


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="sensor-stream-upgrade-"))
    path.chmod(0o755)
    return path


@pytest.fixture
def earlier(directory):
    """A checkout of the version that UPGRADE_FROM names."""
    checkout = directory / "earlier"
    subprocess.run(
        ["git", "worktree", "add", "--detach", checkout, os.environ["UPGRADE_FROM"]], check=True, cwd=REPOSITORY
    )
    yield checkout
    subprocess.run(["git", "worktree", "remove", "--force", checkout], check=True, cwd=REPOSITORY)


def test_upgrade_keeps_all_data(directory, earlier):
    """Phones that sent to the version before go on, and every message of before and after is stored once."""
    records = [directory / "before.jsonl", directory / "after.jsonl"]
    deployments = [Deployment(directory, "sensor-stream-upgrade", repository) for repository in (earlier, REPOSITORY)]
    try:
        for deployment, record in zip(deployments, records, strict=True):
            deployment.leave_out_what_has_no_image()
            deployment.compose("build", "-q", timeout=3600)
            deployment.up()
            deployment.enrol()
            phones = deployment.simulate(record, "--phones", 3, "--duration", 20, "--patience", 200)
            assert phones.wait(300) == 0
            stored_once(deployment, *(each for each in records if each.exists()))
    finally:
        for deployment in deployments:
            deployment.end_phones()
        deployments[-1].remove()
