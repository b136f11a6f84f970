"""Stored messages to what a page needs of them: columns of points and texts per sensor. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, Final

import zstandard

from services.common.channels import split
from services.common.message import Reading, read_record
from services.dashboard.queries import Cursor, MessageRow

LONGEST_TEXT: Final = 300
"""Longer texts (a picture is one) are cut: a page shows them, it does not keep them."""
_RATE_OVER_MS: Final = 10_000
_LARGEST_BODY: Final = 64 * 1024 * 1024
_PRECISE: Final = frozenset(["latitude", "longitude"])


@dataclass(slots=True)
class Columns:
    """Points of one sensor in the order in which they came: times in ms, and each channel's values beside them."""

    times: list[float] = field(default_factory=list)
    channels: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, time_ms: float, numbers: Mapping[str, float]) -> None:
        """Append one reading; channels that it does not have get None."""
        for channel, value in numbers.items():
            if channel not in self.channels:
                self.channels[channel] = [None] * len(self.times)
            self.channels[channel].append(shortened(channel, value))
        self.times.append(time_ms)
        self._fill()

    def extend(self, other: "Columns") -> None:
        """Append the points of `other`."""
        for channel, values in other.channels.items():
            if channel not in self.channels:
                self.channels[channel] = [None] * len(self.times)
            self.channels[channel].extend(values)
        self.times.extend(other.times)
        self._fill()

    def _fill(self) -> None:
        length = len(self.times)
        for values in self.channels.values():
            if len(values) < length:
                values.extend([None] * (length - len(values)))


@dataclass(frozen=True, slots=True)
class TextChange:
    """A text value of a sensor's channel at a time in ms."""

    time_ms: float
    channel: str
    value: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored message, ready to be shown. `cursor` is (partition, offset); times in ms.

    Without a body, or where its readings are older than any chart at full rate, it has no points.
    """

    cursor: tuple[int, int]
    first_ms: float
    last_ms: float
    broker_ms: float
    points: Mapping[str, Columns]
    texts: Mapping[str, Sequence[TextChange]]


def chunk_of(row: MessageRow, full_us: float = 0) -> Chunk:
    """Decode a stored message. Quarantined readings are left out, and points where all are older than `full_us`."""
    points: dict[str, Columns] = {}
    texts: dict[str, list[TextChange]] = {}
    for reading in stored_readings(row):
        time_ms = time_in_ms(reading.time)
        numbers, words = split(reading)
        if numbers and row.last_us >= full_us:
            points.setdefault(reading.name, Columns()).add(time_ms, numbers)
        for channel, value in words.items():
            texts.setdefault(reading.name, []).append(TextChange(time_ms, channel, value[:LONGEST_TEXT]))
    spans = row.first_us / 1000, row.last_us / 1000, row.broker_us / 1000
    return Chunk((row.partition, row.offset), *spans, points, texts)


def time_in_ms(time_ns: int) -> float:
    """ms since the epoch to a tenth: finer than any phone samples, and short to send."""
    return round(time_ns / 1e6, 1)


def shortened(channel: str, value: float) -> float:
    """The value with the digits that can be seen: 7, or 10 where they are metres on a map; whole numbers stay whole."""
    if value.is_integer():
        return int(value)
    return float(f"{value:.10g}" if channel in _PRECISE else f"{value:.7g}")


def _any_sensor(_sensor: str) -> bool:
    return True


def merged_points(chunks: Iterable[Chunk], wanted: Callable[[str], bool] = _any_sensor) -> dict[str, Columns]:
    """The points of all chunks by wanted sensor."""
    merged: dict[str, Columns] = {}
    for chunk in chunks:
        for sensor, columns in chunk.points.items():
            if wanted(sensor):
                merged.setdefault(sensor, Columns()).extend(columns)
    return merged


def merged_texts(chunks: Iterable[Chunk], wanted: Callable[[str], bool] = _any_sensor) -> dict[str, list[TextChange]]:
    """The texts of all chunks by wanted sensor."""
    merged: dict[str, list[TextChange]] = {}
    for chunk in chunks:
        for sensor, changes in chunk.texts.items():
            if wanted(sensor):
                merged.setdefault(sensor, []).extend(changes)
    return merged


def latest_values(columns: Columns) -> dict[str, tuple[float, float]]:
    """(time in ms, value) of the newest reading that has each channel."""
    order = sorted(range(len(columns.times)), key=columns.times.__getitem__, reverse=True)
    latest = {}
    for channel, values in columns.channels.items():
        newest = next((place for place in order if values[place] is not None), None)
        if newest is not None:
            latest[channel] = (columns.times[newest], values[newest])
    return latest  # type: ignore[return-value]  # None was ruled out


def rate_hz(times: Sequence[float]) -> float | None:
    """Readings per second over the last 10 s of `times` (ms, in any order); None with fewer than two.

    It is the usual rate, from the median distance: missing messages do not lower it.
    """
    newest = max(times, default=0.0)
    recent = sorted(time for time in times if time > newest - _RATE_OVER_MS)
    distances = [later - earlier for earlier, later in pairwise(recent) if later > earlier]
    return round(1000 / median(distances), 3) if distances else None


def is_beyond(cursor: tuple[int, int], seen: Cursor) -> bool:
    """True when `seen` does not reach the offset of `cursor`."""
    partition, offset = cursor
    return offset > seen.get(partition, -1)


def stored_readings(row: MessageRow) -> Iterable[Reading]:
    """The readings of a stored message, without the quarantined ones; none where its body is not there."""
    if row.readings == 0 or row.body is None:
        return []
    body: Any = zstandard.ZstdDecompressor().decompress(bytes(row.body), max_output_size=_LARGEST_BODY)
    payload = read_record(body).payload
    return [reading for reading in payload if row.first_us <= reading.time // 1000 <= row.last_us]
