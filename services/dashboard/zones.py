"""Times in the viewer's time zone: charts take times without a zone, so they are given local ones."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER_MS: Final = 900_000


class Zone:
    """A time zone by its IANA name; UTC for a name that is not known."""

    def __init__(self, name: str) -> None:
        try:
            self._zone: ZoneInfo | None = ZoneInfo(name)
        except (ValueError, OSError, KeyError):  # a ZoneInfoNotFoundError is a KeyError
            self._zone = None
        self._shifts: dict[int, float] = {}

    def shift_ms(self, time_ms: float) -> float:
        """What the zone's clocks are ahead of UTC at that time. Zones change on quarters of an hour."""
        quarter = int(time_ms // _QUARTER_MS)
        if quarter not in self._shifts:
            self._shifts[quarter] = self._offset(quarter * _QUARTER_MS)
        return self._shifts[quarter]

    def local(self, time_ms: float) -> float:
        """The time as the zone's clocks show it, as if it were UTC."""
        return time_ms + self.shift_ms(time_ms)

    def from_local(self, local_ms: float) -> float:
        """The time at which the zone's clocks show `local_ms`; the later one where they show it twice."""
        return local_ms - self.shift_ms(local_ms - self.shift_ms(local_ms))

    def words(self, time_ms: float) -> str:
        """The zone's distance from UTC in words, such as UTC+5:30."""
        minutes = round(self.shift_ms(time_ms) / 60_000)
        if minutes == 0:
            return "UTC"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{'+' if minutes > 0 else '−'}{hours}{f':{rest:02}' if rest else ''}"

    def _offset(self, time_ms: float) -> float:
        if self._zone is None:
            return 0.0
        try:
            offset = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(self._zone).utcoffset()
        except (OverflowError, ValueError):
            return 0.0
        return (offset or timedelta()).total_seconds() * 1000
