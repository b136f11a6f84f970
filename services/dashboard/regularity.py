"""How regularly sensors measure: the spread of the times between their readings. Pure functions."""

from collections.abc import Iterable
from itertools import pairwise
from statistics import median, pstdev
from typing import Final, NamedTuple

from services.dashboard.chunks import Chunk, merged_points

_GAP: Final = 6
"""A pause longer than so many usual ones is missing data, not unevenness."""
_FEWEST: Final = 3


class Regularity(NamedTuple):
    """Of one sensor: the usual time between two readings and the standard deviation of these times, in ms."""

    interval_ms: float
    jitter_ms: float


def regularity(times_ms: Iterable[float]) -> Regularity | None:
    """Of readings at these times, in any order; None with fewer than four of them."""
    distances = [later - earlier for earlier, later in pairwise(sorted(times_ms)) if later > earlier]
    if len(distances) < _FEWEST:
        return None
    usual = median(distances)
    return Regularity(usual, pstdev(distance for distance in distances if distance <= _GAP * usual))


def regularities(chunks: Iterable[Chunk]) -> dict[str, Regularity]:
    """Of each sensor that the messages hold enough readings of."""
    found = {sensor: regularity(columns.times) for sensor, columns in merged_points(chunks).items()}
    return {sensor: value for sensor, value in found.items() if value is not None}
