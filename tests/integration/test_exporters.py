"""Exporters of others with what `ops.secrets` makes for them."""

import subprocess

import pytest

from ops.local.monitoring import NODE_EXPORTER
from ops.local.processes import Command, last_lines, start, stop, wait_until
from ops.local.reach import accepts_connections
from tests.compose_file import load
from tests.ports import free_ports
from tests.scrape import assert_refuses_strangers


@pytest.fixture(scope="module")
def node_exporter(directory, secrets):
    """Its port."""
    [port] = free_ports(1)
    options = [f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={secrets}/services/node-exporter/web.yml"]
    log_file = directory / "node-exporter.log"
    command = Command([NODE_EXPORTER, "--collector.disable-defaults", "--collector.loadavg", *options])
    process = start(command, log_file, f"tests:{log_file}")
    assert wait_until(lambda: accepts_connections(port), 20, process), "\n".join(last_lines(log_file, 10))
    yield port
    assert stop(process, command.stop_signal, 20)


def test_exporter_asks_for_the_password(node_exporter, secrets):
    """It knows the hash of the one password of all metrics."""
    assert_refuses_strangers(node_exporter, (secrets / "passwords" / "metrics").read_text())


def test_health_check_needs_no_password(node_exporter):
    """That of the deployment passes while the exporter asks for the password, and fails when nobody answers."""
    [kind, check] = load("compose.prod.yml")["services"]["node-exporter"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"

    def status(port):
        return subprocess.run(["sh", "-c", check.replace(":9100/", f":{port}/")], check=False).returncode

    assert status(node_exporter) == 0
    assert status(free_ports(1)[0]) != 0
