"""`make up-dev` for real: ports on loopback, simulated phones, and changes of the checkout's source taken up."""

import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from deployment import Deployment, docker, wait_until

from tests.compose_file import REPOSITORY
from tests.ports import free_ports

pytestmark = pytest.mark.long
PUBLISHED = ("INGEST_PORT", "INGEST_METRICS_PORT", "DASHBOARD_PORT", "DASHBOARD_METRICS_PORT", "EDGE_METRICS_PORT")
CHANGED = {
    "ingest": ("services/ingest/errors.py", "Nothing is here", "Changed while it ran"),
    "dashboard": ("services/dashboard/access/guard.py", "Sign in first.", "Changed while it ran."),
    "stream": ("services/stream/__main__.py", 'log.info("reading"', 'log.info("changed while it ran"'),
}


@pytest.fixture(scope="module")
def development():
    """A copy of the checkout, up as `make up-dev` brings it up; removed with its data."""
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-development-"))
    directory.chmod(0o755)
    copy = directory / "checkout"
    for name in subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    running = Deployment(directory, "sensor-stream-development", copy)
    running.environment["COMPOSE_FILE"] = "compose.prod.yml:compose.dev.yml"
    running.environment |= dict(zip(PUBLISHED, map(str, free_ports(len(PUBLISHED))), strict=True))
    running.leave_out_what_has_no_image()
    try:
        running.compose("build", "-q", timeout=3600)
        running.up()
        yield running
    finally:
        running.remove()


def said(url):
    """The answer's body, whatever its status; empty while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def test_ports_are_on_loopback(development):
    """Nobody else in the network reaches what is published for a developer."""
    addresses = {
        line.rpartition(" -> ")[2].rpartition(":")[0]
        for _, identity in development.containers()
        for line in docker("port", identity).splitlines()
    }
    assert addresses == {"127.0.0.1"}
    for name in ("INGEST", "DASHBOARD"):
        assert said(f"http://127.0.0.1:{development.environment[f'{name}_PORT']}/livez")


def test_simulated_phones_send(development):
    """And what they send is stored."""
    wait_until(lambda: development.query("SELECT count(*) AS n FROM message")[0]["n"] > 50, 120, "messages are stored")


def change(development, service):
    file, before, after = CHANGED[service]
    text = (development.repository / file).read_text(encoding="utf-8")
    assert before in text
    (development.repository / file).write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize(("service", "path"), [("ingest", "/nothing"), ("dashboard", "/_dash-layout")])
def test_change_of_source_is_taken_up(development, service, path):
    """A change in the checkout is answered with a moment later, without a build."""
    url = f"http://127.0.0.1:{development.environment[f'{service.upper()}_PORT']}{path}"
    # What changes for one service starts the others anew, too.
    wait_until(lambda: CHANGED[service][1] in said(url), 60, f"{service} runs")
    change(development, service)
    wait_until(lambda: "Changed while it ran" in said(url), 60, f"{service} runs the changed source")


def test_stream_takes_up_a_change(development):
    """Driver and executors start anew, and go on storing."""
    change(development, "stream")
    wait_until(lambda: "changed while it ran" in development.compose("logs", "stream"), 300, "the stream is changed")
    [before] = development.query("SELECT count(*) AS n FROM message")
    wait_until(lambda: development.query("SELECT count(*) AS n FROM message")[0]["n"] > before["n"], 120, "it stores")


def test_down_leaves_nothing(development):
    """`make down`, which knows nothing of development, ends the simulator too."""
    file = development.environment.pop("COMPOSE_FILE")
    try:
        development.make("down")
    finally:
        development.environment["COMPOSE_FILE"] = file
    label = f"label=com.docker.compose.project={development.project}"
    assert docker("ps", "-aq", "--filter", label) == ""
