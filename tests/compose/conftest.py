"""One deployment for the tests of a module, and the report of what was seen."""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deployment import Deployment, docker, report_path

from tests.compose_file import REPOSITORY


class Report:
    """What the tests saw, written down as a page at the end."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        print(text, flush=True)
        self.lines.append(text)

    def write(self, deployment):
        now = datetime.now(UTC)
        version = subprocess.run(
            ["git", "describe", "--always"], check=False, capture_output=True, text=True, cwd=REPOSITORY
        ).stdout.strip()
        engine = docker("version", "--format", "{{.Server.Version}}").strip()
        head = [
            "# The deployment, run for real",
            "",
            "Written by `make test-compose`: each line is what a test saw on the containers of `compose.prod.yml`.",
            "",
            f"{now:%Y-%m-%d %H:%M} UTC, commit {version}, Docker {engine}, {os.cpu_count()} cores.",
            "",
            *[f"- **Left out**: {name}, for there was no image {image}" for name, image in deployment.left_out],
        ]
        report_path().parent.mkdir(exist_ok=True)
        report_path().write_text("\n".join(head + self.lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def report():
    return Report()


@pytest.fixture(scope="module")
def deployment(report):
    """Built and up, with a phone's token; removed with its data at the end, unless KEEP=DIRECTORY keeps it there."""
    kept = os.environ.get("KEEP")
    directory = Path(kept or tempfile.mkdtemp(prefix="sensor-stream-compose-"))
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    running = Deployment(directory)
    try:
        running.leave_out_what_has_no_image()
        there = running.containers()
        if not there:
            running.compose("build", "-q", timeout=3600)
        report.say("")
        seconds = running.up()
        report.say(f"- All healthy {seconds:.0f} s after `up`, {'of what ran already' if there else 'from nothing'}.")
        running.first_start_s = seconds
        running.enrol()
        yield running
    finally:
        running.end_phones()
        report.write(running)
        if not kept:
            running.remove()
