"""How often and how regularly sensors measure, by the times of their readings; slow ones by their windows."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import median, pstdev
from typing import Final, NamedTuple

from services.dashboard.chunks import Chunk, chunk_of, merged_points
from services.dashboard.queries.sessions import SessionQueries

_GAP: Final = 6
"""A pause longer than so many usual ones is missing data, not unevenness."""
_FEWEST: Final = 3
_SHARE_S: Final = 60.0
"""What was measured of a session is told to all who ask within this time."""
_MOST_SESSIONS: Final = 1000


class Regularity(NamedTuple):
    """Of one sensor: readings per second, and the standard deviation of the times between two of them in ms.

    None where there are too few readings to tell.
    """

    hz: float | None
    jitter_ms: float | None


def regularity(times_ms: Iterable[float]) -> Regularity | None:
    """Of readings at these times, in any order; None with fewer than four of them."""
    distances = [later - earlier for earlier, later in pairwise(sorted(times_ms)) if later > earlier]
    if len(distances) < _FEWEST:
        return None
    usual = median(distances)
    return Regularity(1000 / usual, pstdev(distance for distance in distances if distance <= _GAP * usual))


def regularities(chunks: Iterable[Chunk]) -> dict[str, Regularity]:
    """Of each sensor that the messages hold enough readings of."""
    found = {sensor: regularity(columns.times) for sensor, columns in merged_points(chunks).items()}
    return {sensor: value for sensor, value in found.items() if value is not None}


class Regularities:
    """What is known of sessions, measured anew once a minute for all who look. `clock` tells seconds that pass."""

    def __init__(self, queries: SessionQueries, clock: Callable[[], float] = time.monotonic) -> None:
        self._queries = queries
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[int, tuple[float, dict[str, Regularity]]] = {}

    def of(self, session_ids: Sequence[int]) -> dict[int, dict[str, Regularity]]:
        """Of each session its sensors in the order of their names. Raises `DatabaseAwayError`."""
        with self._lock:
            since = self._clock() - _SHARE_S
            known = {key: self._held[key] for key in session_ids if key in self._held and self._held[key][0] >= since}
            missing = [key for key in session_ids if key not in known]
            if missing:
                measured = self._measure(missing)
                known |= {key: (self._clock(), measured[key]) for key in missing}
                if len(self._held) > _MOST_SESSIONS:
                    self._held.clear()
                self._held |= known
            return {key: known[key][1] for key in session_ids}

    def _measure(self, session_ids: Sequence[int]) -> dict[int, dict[str, Regularity]]:
        messages = self._queries.newest_messages(session_ids)
        found: dict[int, dict[str, Regularity]] = {
            key: regularities(chunk_of(message) for message in messages.get(key, ())) for key in session_ids
        }
        sensors: dict[int, dict[str, Regularity]] = {key: {} for key in session_ids}
        for rate in self._queries.rates(session_ids):
            measured = found[rate.session_id].get(rate.sensor)
            sensors[rate.session_id][rate.sensor] = measured or Regularity(rate.hz, None)
        return sensors
