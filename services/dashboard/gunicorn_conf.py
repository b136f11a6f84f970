"""How gunicorn serves the dashboard.

One process with many threads: viewers of a session share what one of them has read, and that is kept in the process.
More capacity is more containers.
"""

import logging
import os
import sys
from typing import Any

from services.common import logs
from services.common.settings import SettingsError, describe, load
from services.dashboard import metrics
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings

try:
    _settings = load(DashboardSettings, os.environ)
    _database = load(DashboardDatabaseSettings, os.environ)
except SettingsError as error:
    sys.exit(f"dashboard: {error}")

bind = f"{_settings.host}:{_settings.port}"
worker_class = "gthread"
workers = 1
threads = _settings.threads
timeout = 30
graceful_timeout = 5
keepalive = 15
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """Log what it was told before it starts."""
    logs.configure("dashboard", _settings.log_format)
    fields = {**describe(_settings), **describe(_database)}
    logging.getLogger("dashboard").info("starting", extra={"fields": fields})


def post_worker_init(_worker: Any) -> None:
    """Serve the metrics from the process that makes them."""
    metrics.serve(_settings.metrics_port)
