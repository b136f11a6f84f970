"""Readings and windows to the lines of a chart: breaks where data is missing, never a peak lost. Pure functions."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from services.dashboard.chunks import shortened
from services.dashboard.queries.windows import Window

MOST_POINTS: Final = 3000
"""Of more readings than this a line has the lowest and highest of each stretch."""
_LEAST_GAP_MS: Final = 100.0


class Line(NamedTuple):
    """One channel of one recording: `x` in ms, `y` with None at breaks, and the outline of its min-max band."""

    channel: str
    session: str
    x: list[float]
    y: list[float | None]
    band_x: list[float | None]
    band_y: list[float | None]


def line_of_readings(channel: str, session: str, pairs: Sequence[tuple[float, float]], shift_ms: float) -> Line:
    """The line of (time in ms, value) in order of time; a band is needless where every reading is drawn."""
    gap = max(_LEAST_GAP_MS, 6 * _usual_distance([at for at, _ in pairs]))
    x: list[float] = []
    y: list[float | None] = []
    before: float | None = None
    for at, value in _thinned(pairs):
        if before is not None and at - before > gap:
            x.append(before + shift_ms + 1)
            y.append(None)
        x.append(at + shift_ms)
        y.append(shortened(channel, value))
        before = at
    return Line(channel, session, x, y, [], [])


def line_of_windows(channel: str, session: str, windows: Sequence[Window], step_s: int, shift_ms: float) -> Line:
    """The line of the means, each in the middle of its window, within the band from minima to maxima."""
    starts = [window.start_ms for window in windows]
    gap = max(1500.0 * step_s, 3.5 * _usual_distance(starts))
    middle = shift_ms + 500.0 * step_s
    x: list[float] = []
    y: list[float | None] = []
    band_x: list[float | None] = []
    band_y: list[float | None] = []
    for stretch in _stretches(windows, gap):
        if x:
            x.append(x[-1] + 1)
            y.append(None)
            band_x.append(None)
            band_y.append(None)
        times = [window.start_ms + middle for window in stretch]
        x += times
        y += [shortened(channel, window.mean) for window in stretch]
        band_x += [*times, *reversed(times)]
        band_y += [shortened(channel, window.max) for window in stretch]
        band_y += [shortened(channel, window.min) for window in reversed(stretch)]
    return Line(channel, session, x, y, band_x, band_y)


def _stretches(windows: Sequence[Window], gap_ms: float) -> Iterator[Sequence[Window]]:
    """The windows between breaks."""
    begin = 0
    for position in range(1, len(windows) + 1):
        if position == len(windows) or windows[position].start_ms - windows[position - 1].start_ms > gap_ms:
            yield windows[begin:position]
            begin = position


def _thinned(pairs: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most about `MOST_POINTS` of the pairs: the lowest and the highest of each of equal numbers of them."""
    if len(pairs) <= MOST_POINTS:
        return pairs
    size = -(-2 * len(pairs) // MOST_POINTS)
    kept: list[tuple[float, float]] = []
    for begin in range(0, len(pairs), size):
        part = pairs[begin : begin + size]
        low, high = min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1])
        kept += sorted({low, high})
    return kept


def _usual_distance(times: Sequence[float]) -> float:
    distances = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    return median(distances) if distances else 0.0
