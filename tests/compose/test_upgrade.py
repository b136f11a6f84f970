"""`make test-upgrade FROM=COMMIT`: this version over the data of an earlier one, and back again."""

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployment import Deployment, stored_once

from tests.compose_file import REPOSITORY

pytestmark = pytest.mark.long
PROJECT = "sensor-stream-upgrade"
MIGRATIONS = "ops/postgres/migrations/versions"


def git(*arguments):
    """What git prints of this repository; empty where it fails."""
    return subprocess.run(
        ["git", *map(str, arguments)], check=False, capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.strip()


def earlier_version():
    """What UPGRADE_FROM names; else the newest tag; else the version before the newest migration."""
    newest_tag = git("describe", "--tags", "--abbrev=0", "HEAD^")
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", MIGRATIONS)
    return os.environ.get("UPGRADE_FROM") or newest_tag or f"{added}^"


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="sensor-stream-upgrade-"))
    path.chmod(0o755)
    return path


@pytest.fixture
def earlier(directory):
    """A checkout of the earlier version."""
    checkout = directory / "earlier"
    git("worktree", "add", "--detach", checkout, earlier_version())
    assert (checkout / "compose.prod.yml").exists(), f"{earlier_version()} is no version with a deployment"
    yield checkout
    git("worktree", "remove", "--force", checkout)


@contextmanager
def removed(*deployments):
    """Whatever happens, nothing of them is left."""
    try:
        yield
    finally:
        for deployment in deployments:
            deployment.end_phones()
        deployments[-1].remove()


def test_upgrade_and_back_keep_all_data(directory, earlier):
    """Phones go on over an upgrade and over the way back, a backup of before with the earlier version checked out."""
    old, new = (Deployment(directory, PROJECT, repository) for repository in (earlier, REPOSITORY))
    records = []
    with removed(old, new):

        def build(deployment):
            deployment.leave_out_what_has_no_image()
            deployment.compose("build", "-q", timeout=3600)

        def phones_send(deployment):
            deployment.enrol()
            records.append(directory / f"{len(records)}.jsonl")
            phones = deployment.simulate(records[-1], "--phones", 3, "--duration", 20, "--patience", 200)
            assert phones.wait(300) == 0
            return stored_once(deployment, *records)

        build(old)
        old.up()
        print(f"before: {git('describe', '--always', earlier_version())}, {phones_send(old)} messages")
        old.make("backup", f"DIR={directory}")
        build(new)
        new.up()
        print(f"upgraded to {git('describe', '--always', '--dirty')}: {phones_send(new)} messages, each once")
        old.compose("build", "-q", timeout=3600)
        [backup] = directory.glob("*.tar")
        old.make("restore", f"FILE={backup}")
        print(f"and back: {phones_send(old)} messages, each once")
