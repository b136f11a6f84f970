"""Logs: JSON lines in production, readable columns on a laptop. Fields are given with `extra={"fields": {...}}`."""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Protocol


class Fields(Protocol):
    """What lends its fields to the lines that are written while it is current: a span and its trace id."""

    @property
    def fields(self) -> Mapping[str, str]: ...


current_span: Final[ContextVar[Fields | None]] = ContextVar("current_span", default=None)


def configure(service: str, style: str, level: str = "INFO") -> None:
    """Send every log of this process to standard error, as columns if `style` is "text" and else as JSON.

    Call once per process, at the service's edge.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFormatter() if style == "text" else _JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("py4j").setLevel(logging.WARNING)  # tells of every call between Python and the JVM


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    span = current_span.get()
    return {**(span.fields if span else {}), **getattr(record, "fields", {})}


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        text = f"{time} {record.levelname:<7} {record.getMessage()}{fields}".encode("unicode_escape").decode("ascii")
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
