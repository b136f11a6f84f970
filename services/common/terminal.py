"""What commands tell the person at the terminal."""

from collections.abc import Sequence
from datetime import datetime


def columns(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines, their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def minute(time: datetime | None) -> str:
    """A moment, to the minute, in the terminal's zone."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else "never"
