"""The dashboard as a process."""

import os
import subprocess

from tests.integration.dashboard.served import COMMAND


def test_missing_setting_is_one_clear_line():
    """Without its settings the dashboard does not start, and says in one line what is missing."""
    result = subprocess.run(COMMAND, env={"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert result.returncode != 0
    assert (
        result.stderr.decode().strip()
        == "DATABASE_HOST is not set: host name of PostgreSQL, as its certificate names it"
    )
