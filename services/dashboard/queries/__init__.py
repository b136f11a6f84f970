"""Every question the dashboard asks PostgreSQL, as typed rows. Times are µs or ms since the Unix epoch, as named.

Each statement is answered by an index; a test has each of them explained on a large data set.
"""

from services.dashboard.queries.live import (
    Cursor,
    Look,
    MessageRow,
    Queries,
    SeriesRow,
    SessionRow,
    SpanRow,
    TextRow,
)
from services.dashboard.queries.windows import Window

__all__ = [
    "Cursor",
    "Look",
    "MessageRow",
    "Queries",
    "SeriesRow",
    "SessionRow",
    "SpanRow",
    "TextRow",
    "Window",
]
