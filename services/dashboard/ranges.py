"""How much time the charts show, and at which resolution."""

from collections.abc import Mapping
from typing import Final, NamedTuple

EVERY_READING: Final = 0
"""The step of the view that shows each reading itself."""
FULL_RATE_MS: Final = 30_000
_STEPS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
_RESOLUTIONS_S: Final = (1, 10, 60)
_MOST_WINDOWS: Final = 720
_MOST_WINDOWS_OF_HISTORY: Final = 1500


class Range(NamedTuple):
    """A choice of the page: its text, how long it is (None: the whole session), and the step of its windows in s."""

    text: str
    length_ms: int | None
    step_s: int | None


RANGES: Final = {
    "30s": Range("30 s", FULL_RATE_MS, EVERY_READING),
    "2m": Range("2 min", 120_000, 1),
    "10m": Range("10 min", 600_000, 1),
    "1h": Range("1 h", 3_600_000, 10),
    "session": Range("Session", None, None),
}
DEFAULT_RANGE: Final = "30s"


class View(NamedTuple):
    """The span of time to show, in ms since the epoch, and the step of its windows in s (0: every reading)."""

    from_ms: float
    until_ms: float
    step_s: int


def view(name: str, first_ms: float, last_ms: float) -> View:
    """The range called `name` of a session with readings from `first_ms` to `last_ms`; it ends with the newest."""
    chosen = RANGES.get(name, RANGES[DEFAULT_RANGE])
    if chosen.length_ms is not None and chosen.step_s is not None:
        return View(last_ms - chosen.length_ms, last_ms, chosen.step_s)
    return View(first_ms, last_ms, step_for(last_ms - first_ms))


def step_for(length_ms: float) -> int:
    """The shortest step in s with which at most 720 windows cover `length_ms`; a day's for the longest spans."""
    return next((step for step in _STEPS_S if length_ms <= step * 1000 * _MOST_WINDOWS), _STEPS_S[-1])


def history_step(length_ms: float) -> int:
    """The shortest step in s with which at most 1500 windows cover `length_ms`; a day's for the longest spans."""
    return next((step for step in _STEPS_S if length_ms <= step * 1000 * _MOST_WINDOWS_OF_HISTORY), _STEPS_S[-1])


def kept_step(step_s: int, from_ms: float, kept: Mapping[int, float]) -> int:
    """`step_s`, or the next longer step made of windows that are kept from `from_ms` on.

    `kept` says by resolution (s) from which time (ms) on there are windows; the coarsest are kept the longest.
    """
    enough = [resolution for resolution in _RESOLUTIONS_S if kept.get(resolution, 0) <= from_ms]
    finest = enough[0] if enough else _RESOLUTIONS_S[-1]
    return next(step for step in _STEPS_S if step >= step_s and step % finest == 0)


def floor_ms(time_ms: float, step_s: int) -> float:
    """Where the window of `step_s` seconds begins that holds `time_ms`."""
    return time_ms // (step_s * 1000) * (step_s * 1000)
