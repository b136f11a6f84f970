"""The simulator's metrics: each declared here, each behind a verb, so that no caller invents a name or a label."""

from typing import Literal

from prometheus_client import Counter, Histogram, disable_created_metrics

from services.common import metrics_port

Outcome = Literal["acknowledged", "refused", "unanswered"]

_posts = Counter("simulator_posts", "Attempts to send a message")
_messages = Counter("simulator_messages", "Messages by what became of them", ["outcome"])
_readings = Counter("simulator_readings", "Readings by what became of their message", ["outcome"])
_round_trip = Histogram(
    "simulator_round_trip_seconds",
    "From sending a message to its acknowledgement",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)


def serve(port: int) -> None:
    """Tell them on `port` of loopback, from a thread of this process. Raises `OSError` when the port is taken."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
    try:
        metrics_port.start(port, "")
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"port {port} of the metrics") from None


def record_post(round_trip_seconds: float | None) -> None:
    """Count an attempt; its round trip only if it was acknowledged."""
    _posts.inc()
    if round_trip_seconds is not None:
        _round_trip.observe(round_trip_seconds)


def record_message(outcome: Outcome, readings: int) -> None:
    """Count a message once, when it is known what became of it."""
    _messages.labels(outcome).inc()
    _readings.labels(outcome).inc(readings)
