"""Times, lengths and figures in words, as people read them. Pure functions."""

from datetime import UTC, datetime, timedelta
from typing import Final

from services.dashboard.zones import Zone

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(time_ms: float, zone: Zone) -> str:
    """Day and time of the zone's clocks, such as 24 Nov 2025 16:00:01.250."""
    local = _EPOCH + timedelta(milliseconds=zone.local(time_ms))
    return f"{local:%d %b %Y %H:%M:%S}.{local.microsecond // 1000:03}"


def span_words(ms: float) -> str:
    """A length of time, as short as possible."""
    s = max(0.0, ms / 1000)
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "days")):
        if s < limit:
            return f"{s / size:.1f} {unit}" if s / size < 9.95 and s % size else f"{s / size:.0f} {unit}"
    raise AssertionError("every length is below infinity")


def count_of(number: int, thing: str) -> str:
    """Such as 1 message, 2,000 messages."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def in_figures(value: float) -> str:
    """A value with the digits that can be read."""
    size = abs(value)
    if value == int(value) and size < 1e9:
        return f"{int(value)}".replace("-", "−")
    if size >= 1e6 or size < 1e-4:
        return f"{value:.3e}".replace("-", "−")
    return f"{value:.{0 if size >= 1e5 else 2 if size >= 100 else 3 if size >= 1 else 4}f}".replace("-", "−")
