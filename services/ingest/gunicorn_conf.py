"""gunicorn's configuration.

`python -m gunicorn --config python:services.ingest.gunicorn_conf services.ingest.wsgi:application`
"""

import gc
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from gunicorn.glogging import Logger

from services.common import logs
from services.common.database import DatabaseSettings
from services.common.settings import SettingsError, describe, load
from services.ingest.settings import IngestSettings

_SPARE_FILES: Final = 256
_METRICS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"


def _load_settings() -> tuple[IngestSettings, dict[str, Any]]:
    """The settings and how to show them, or the end of the start with one line that says which is wrong."""
    try:
        settings = load(IngestSettings, os.environ)
        shown = describe(settings) | describe(load(DatabaseSettings, os.environ))
    except SettingsError as error:
        sys.exit(str(error))
    for name, value in shown.items():
        if isinstance(value, Path) and not os.access(value, os.R_OK):
            sys.exit(f"{name}={value} cannot be read: make the certificates, or let this user read them")
    return settings, shown


_settings, _shown = _load_settings()
if _METRICS_DIR not in os.environ:  # before anything imports prometheus_client, which looks for it then
    os.environ[_METRICS_DIR] = tempfile.mkdtemp(prefix="ingest-metrics-")


class IngestLogger(Logger):  # type: ignore[misc]  # published without types
    """gunicorn's own lines, in the form of all others."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002  # gunicorn's signature
        """Called by gunicorn in the master, before anything is logged."""
        logs.configure("ingest", _settings.log_format)
        self.error_log.setLevel("INFO")
        self.error_log.propagate = True


def on_starting(server: Any) -> None:
    """Prepare what all workers share: their limit of open files, and where their metrics are asked for."""
    from services.common import metrics_port
    from services.ingest import metrics

    metrics.record_no_tokens_needed()
    _allow_files(server.log)
    try:
        server.metrics_listener = metrics_port.listen(_settings.metrics_port, _settings.metrics_password)
    except OSError as error:
        sys.exit(f"INGEST_METRICS_PORT={_settings.metrics_port} cannot be listened on: {error.strerror}")
    server.log.info("starting", extra={"fields": _shown})


def post_fork(server: Any, worker: Any) -> None:
    """Hand the metrics' socket to the worker: whichever worker is asked answers for all."""
    worker.metrics_listener = server.metrics_listener


def post_worker_init(worker: Any) -> None:
    """Start answering for metrics, and let the garbage collector do less."""
    from services.ingest import metrics

    metrics.serve(worker.metrics_listener, _settings.metrics_password)
    # What lives as long as the worker need not be looked through again, and a message makes objects but no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def worker_exit(_server: Any, worker: Any) -> None:
    """Deliver what is still queued, write what is known of the tokens, export what is left of the traces."""
    if hasattr(worker, "wsgi"):
        from services.ingest.wsgi import publisher, token_sync, tracing

        publisher.close()
        token_sync.close()
        tracing.close()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that has ended; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # published without types


def on_exit(_server: Any) -> None:
    """Remove the metrics' directory."""
    shutil.rmtree(os.environ[_METRICS_DIR], ignore_errors=True)


def _allow_files(log: Any) -> None:
    """Raise the limit of open files, which each worker has for itself, to what the connections need."""
    needed = _settings.max_connections + _SPARE_FILES
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        log.warning(
            "INGEST_MAX_CONNECTIONS=%s needs %s open files: %s are allowed", _settings.max_connections, needed, most
        )
        needed = most
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), most))


bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "services.ingest.worker.IngestWorker"
logger_class = IngestLogger
graceful_timeout = int(_settings.acknowledge_timeout_s) + 5
timeout = 30
control_socket_disable = True
