"""Ports that others hold, told before anything starts."""

import os
import socket
import threading

import pytest

from ops.local import preflight
from ops.local.errors import LocalError
from ops.local.settings import LocalSettings
from tests.ports import free_ports


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_busy_port_is_told_with_its_setting_and_its_holder(family, address):
    """Which port, which setting, which program: all in one line, over IPv4 and IPv6."""
    settings = LocalSettings.load({name: str(port) for name, port in _ports().items()})
    with socket.socket(family) as holder:
        holder.bind((address, settings.port("DASHBOARD_PORT")))
        holder.listen()
        holders = rf"in use by \S.* \(process {os.getpid()}\): stop that program or set DASHBOARD_PORT"
        with pytest.raises(LocalError, match=holders):
            preflight.check_ports(settings)
    preflight.check_ports(settings)


def test_port_of_a_process_that_is_ending_is_waited_for():
    """One that was killed a moment ago can no longer be recognized, and still has its sockets."""
    settings = LocalSettings.load({name: str(port) for name, port in _ports().items()})
    holder = socket.create_server(("127.0.0.1", settings.port("INGEST_METRICS_PORT")))
    ending = threading.Timer(0.3, holder.close)
    ending.start()
    preflight.check_ports(settings)
    assert holder.fileno() == -1
    ending.join()


def _ports():
    names = LocalSettings.load({}).ports
    return dict(zip(names, free_ports(len(names)), strict=True))
