"""Motion of people, recorded (data/README.md): made into seamless loops of any sampling rate."""

import functools
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from services.simulator.attitude import Quaternion, Vector, swing

Activity = Literal["standing", "walking", "running", "badminton"]
ACTIVITIES: Final[tuple[Activity, ...]] = get_args(Activity)
RECORDED_HZ: Final = 10
_FADED: Final = 10  # samples: one second of the end fades into the start
_RECORDINGS_FILE = Path(__file__).parent / "data" / "recordings.json"

_making = threading.Lock()

Samples = list[list[float]]


class Motion(NamedTuple):
    """One sample: acceleration without gravity (m/s²), rotation rate (rad/s), and the turn away from the usual pose."""

    acceleration: Vector
    rotation: Vector
    turn: Quaternion


@functools.cache
def recordings() -> dict[Activity, list[Samples]]:
    """The recordings of each activity: 10 s of samples at 10 Hz, accelerometer x, y, z then gyroscope x, y, z."""
    loaded: dict[Activity, list[Samples]] = json.loads(_RECORDINGS_FILE.read_text(encoding="utf-8"))
    return loaded


def loop(activity: Activity, number: int, rate: float) -> list[Motion]:
    """A recording as a loop without a seam, about 9 s long, with `rate` samples per second."""
    with _making:  # or each of many phones that begin at once would make the same loop
        return _make_loop(activity, number, rate)


@functools.cache
def _make_loop(activity: Activity, number: int, rate: float) -> list[Motion]:
    seamless = fade(recordings()[activity][number])
    size = max(1, round(len(seamless) * rate / RECORDED_HZ))
    samples = interpolate(seamless, size)
    rotations = [(gx, gy, gz) for *_, gx, gy, gz in samples]
    turns = swing(rotations, len(seamless) / RECORDED_HZ / size)
    return [Motion((s[0], s[1], s[2]), r, t) for s, r, t in zip(samples, rotations, turns, strict=True)]


def fade(samples: Samples) -> Samples:
    """Drop the last second and fade it into the first, so that the end leads to the start."""
    end = len(samples) - _FADED
    faded = [
        [(late * (_FADED - i) + early * i) / _FADED for late, early in zip(samples[end + i], samples[i], strict=True)]
        for i in range(_FADED)
    ]
    return faded + samples[_FADED:end]


def interpolate(samples: Sequence[Sequence[float]], size: int) -> Samples:
    """A loop brought to `size` samples by Catmull-Rom splines, which pass through every given sample."""
    count = len(samples)
    made = []
    for index in range(size):
        before, share = divmod(index * count, size)
        around = [samples[(before + step) % count] for step in (-1, 0, 1, 2)]
        made.append([_spline(share / size, *values) for values in zip(*around, strict=True)])
    return made


def _spline(t: float, a: float, b: float, c: float, d: float) -> float:
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
