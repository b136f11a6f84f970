"""The dashboard's metrics: each declared here, each behind a verb, so that no caller invents a name or a label."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from services.common import metrics_port
from services.common.telemetry import SpanKind, current_span

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_AGES_SECONDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)

_callback_seconds = Histogram(
    "dashboard_callback_seconds", "Time of a callback by name", ["callback"], buckets=_SECONDS
)
_query_seconds = Histogram("dashboard_query_seconds", "Time of a query by name", ["query"], buckets=_SECONDS)
_query_failures = Counter("dashboard_query_failures", "Queries that PostgreSQL did not answer, by name", ["query"])
_update_bytes = Histogram(
    "dashboard_update_bytes", "Size of an answer to a page that asked what is new", buckets=_BYTES
)
_newest_reading_age_seconds = Histogram(
    "dashboard_newest_reading_age_seconds",
    "Age of the newest reading when a page that shows a running recording is told of it, by the phone's clock",
    buckets=_AGES_SECONDS,
)
_sessions_followed = Gauge("dashboard_sessions_followed", "Sessions whose newest messages are held for viewers")
_sign_ins = Counter("dashboard_sign_ins", "Attempts to sign in, by outcome", ["outcome"])
_requests_refused = Counter("dashboard_requests_refused", "Requests that were refused, by reason", ["reason"])
_viewers = Gauge("dashboard_viewers", "Browsers in which somebody looked within the last minute")

Outcome = Literal["accepted", "wrong", "throttled", "away"]
Refusal = Literal["not_signed_in", "other_origin", "not_operator"]

_exports = Counter("dashboard_exports", "Exports by what was exported and how it ended", ["what", "outcome"])


def serve(port: int, password: str) -> None:
    """Tell them on `port` from a thread of this process. Raises `OSError` when the port is taken."""
    metrics_port.start(port, password)


@contextmanager
def time_callback(name: str) -> Iterator[None]:
    """Observe how long the callback `name` takes, and record it as a part of the request's trace."""
    started = time.perf_counter()
    try:
        with current_span().part(f"callback {name}"):
            yield
    finally:
        _callback_seconds.labels(name).observe(time.perf_counter() - started)


@contextmanager
def time_query(name: str) -> Iterator[None]:
    """Observe how long the query `name` takes, and record it in the trace; one that raises counts as a failure."""
    started = time.perf_counter()
    try:
        with current_span().part(f"query {name}", SpanKind.CLIENT, {"db.system.name": "postgresql"}):
            yield
    except Exception:
        _query_failures.labels(name).inc()
        raise
    finally:
        _query_seconds.labels(name).observe(time.perf_counter() - started)


def record_update(size: int) -> None:
    """Count an answer of `size` bytes to a page that asked what is new."""
    _update_bytes.observe(size)


def record_newest_reading_age(age_s: float) -> None:
    """Note how old the newest reading is that a page is told of; a phone whose clock is ahead counts as 0."""
    _newest_reading_age_seconds.observe(max(0.0, age_s))


def record_sessions_followed(count: int) -> None:
    """Say how many sessions are held for viewers."""
    _sessions_followed.set(count)


def record_export(what: str, outcome: str) -> None:
    """Count an export that has ended."""
    _exports.labels(what, outcome).inc()


def record_sign_in(outcome: Outcome) -> None:
    """Count an attempt to sign in."""
    _sign_ins.labels(outcome).inc()


def record_request_refused(reason: Refusal) -> None:
    """Count a request that nobody was allowed to make, or not this one."""
    _requests_refused.labels(reason).inc()


def watch_viewers(count: Callable[[], int]) -> None:
    """Ask `count` for the number of viewers whenever the metrics are read."""
    _viewers.set_function(count)
