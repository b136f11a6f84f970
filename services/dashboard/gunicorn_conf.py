"""gunicorn's configuration.

`python -m gunicorn --config python:services.dashboard.gunicorn_conf services.dashboard.wsgi:application`

One process with many threads: viewers of a session share what one of them has read, and that is kept in the process.
More capacity is more containers.
"""

import os
import sys
from typing import Any, Final

from gunicorn.glogging import Logger

from services.common import logs
from services.common.settings import SettingsError, describe, load
from services.dashboard import metrics
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings

_CANNOT_START: Final = 4  # tells gunicorn that another worker would fail in the same way

try:
    _settings = load(DashboardSettings, os.environ)
    _database = load(DashboardDatabaseSettings, os.environ)
except SettingsError as error:
    sys.exit(str(error))


class DashboardLogger(Logger):  # type: ignore[misc]  # published without types
    """gunicorn's own lines, in the form of all others."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002  # gunicorn's signature
        """Called by gunicorn in the master, before anything is logged."""
        logs.configure("dashboard", _settings.log_format)
        self.error_log.setLevel("INFO")
        self.error_log.propagate = True


def on_starting(server: Any) -> None:
    """Log what it was told."""
    server.log.info("starting", extra={"fields": {**describe(_settings), **describe(_database)}})


def post_worker_init(worker: Any) -> None:
    """Serve the metrics from the process that makes them."""
    try:
        metrics.serve(_settings.metrics_port, _settings.metrics_password)
    except OSError as error:
        port = _settings.metrics_port
        worker.log.critical("DASHBOARD_METRICS_PORT=%s cannot be listened on: %s", port, error.strerror)
        sys.exit(_CANNOT_START)


bind = f"{_settings.host}:{_settings.port}"
workers = 1
worker_class = "gthread"
logger_class = DashboardLogger
threads = _settings.threads
timeout = 30
graceful_timeout = 3
keepalive = 15
control_socket_disable = True
