"""`python -m services.stream`: runs until it is stopped, or fails with the cause in one line and status 1."""

import logging
import os
import signal
import sys
import threading
from contextlib import closing

from services.common import logs
from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, describe, load
from services.common.telemetry import Tracing
from services.stream import metrics, resume
from services.stream.executors import ExecutorWatch, executors_of
from services.stream.gather import Gather
from services.stream.housekeeping import Housekeeping, make_partitions
from services.stream.query import start_query
from services.stream.settings import KeepSettings, RuleSettings, StreamSettings
from services.stream.source import make_session, read_records

log = logging.getLogger("services.stream")


def main() -> int:
    """Run the stream; the exit status says whether it was stopped (0) or failed (1, and 2 for its settings)."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings, database = load(StreamSettings, os.environ), load(DatabaseSettings, os.environ)
        keep, rules = load(KeepSettings, os.environ), load(RuleSettings, os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the logs are not set up yet
        return 2
    logs.configure("stream", settings.log_format)
    log.info("starting", extra={"fields": describe(settings) | describe(keep) | describe(rules) | describe(database)})
    try:
        _run(settings, keep, database, stop)
    except Exception as error:
        log.error("the stream failed: %s", _cause(error))
        return 1
    log.info("stopped")
    return 0


def _run(settings: StreamSettings, keep: KeepSettings, database: DatabaseSettings, stop: threading.Event) -> None:
    with closing(connect(database, "stream")) as connection:
        make_partitions(connection, keep)
        resume.prepare(settings, connection)
    tracing = Tracing("stream")
    spark = make_session(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # Spark has put its own handler in place of ours
        signal.signal(number, lambda *_: stop.set())
    gather = Gather(tracing)
    query = start_query(read_records(spark, settings), settings, gather, tracing.choice)
    metrics.serve(settings.metrics_port, settings.metrics_password)
    housekeeping = Housekeeping(settings, keep, database)
    housekeeping.start()
    executors = ExecutorWatch(executors_of(spark))
    log.info("reading", extra={"fields": {"topic": settings.topic}})
    while not stop.is_set():
        if query.awaitTermination(timeout=1):
            return
        executors.look()
        gather.tick()
        if progress := query.lastProgress:
            metrics.record_phases(progress["durationMs"])
        metrics.record_progress(progress)
    housekeeping.stop()
    query.stop()
    spark.stop()
    tracing.close()


def _cause(error: Exception) -> str:
    """One line: of Spark's long texts the innermost error, of all others the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Exception:" in line or "Error:" in line]
    return (named[-1:] or lines[:1] or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main())
