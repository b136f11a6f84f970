"""Moments and lengths of time in words; the page's script keeps them right while they are shown."""

from datetime import UTC, datetime
from typing import Any

from dash import html

_UNITS = ((172_800, 86_400, "days"), (5_400, 3_600, "h"), (90, 60, "min"))


def duration(seconds: float) -> str:
    """A length of time, as short as possible."""
    for least, unit, word in _UNITS:
        if seconds >= least:
            return f"{round(seconds / unit)} {word}"
    return f"{max(0, round(seconds))} s"


def ago(moment: datetime | None, never: str = "never") -> Any:
    """How long ago, with the moment in UTC beside it."""
    if moment is None:
        return html.Span(never)
    age = (datetime.now(UTC) - moment).total_seconds()
    data: Any = {"data-at": str(round(moment.timestamp() * 1000))}
    return html.Time(f"{duration(age)} ago", dateTime=moment.isoformat(), title=utc(moment), **data)


def at(moment: datetime | None, never: str = "–") -> Any:
    """Day and time in the viewer's zone, with UTC beside it."""
    if moment is None:
        return html.Span(never)
    data: Any = {"data-local": str(round(moment.timestamp() * 1000))}
    return html.Time(f"{moment:%Y-%m-%d %H:%M} UTC", dateTime=moment.isoformat(), title=utc(moment), **data)


def utc(moment: datetime) -> str:
    """The moment for whoever wants it exactly."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
