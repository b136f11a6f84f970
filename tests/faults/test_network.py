"""The network faults, in a namespace of their own: nothing of the machine's network is touched."""

import json
import os
import subprocess
import sys

import pytest

from tests.faults.catalogue import NETWORK
from tests.system.stack import REPOSITORY

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [201])
def test_network_cut_slow_and_lossy(seed):
    """Through each network fault nothing acknowledged is lost or stored twice, and all parts are back in time."""
    faults = [sys.executable, "-m", "tests.faults", "--only", "network", "--seed", str(seed)]
    faults += ["--faults", str(len(NETWORK))]
    faults += ["--patience", os.environ.get("FAULTS_PATIENCE", "1")]
    shell = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "bash", "-c", shell, "faults", *faults]
    result = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stdout + result.stderr
    [figures] = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    print(figures)
    assert figures["over_bound"] == []
