"""Samples: a measure taken again and again beside a load, and how fast it grows."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@contextmanager
def sampling(measure: Callable[[], T], every_s: float = 1) -> Iterator[list[tuple[float, T]]]:
    """Take the measure now and then, meanwhile: (seconds of the monotonic clock, measure)."""
    samples: list[tuple[float, T]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(every_s):
            samples.append((time.monotonic(), measure()))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def growth_per_hour(samples: Sequence[tuple[float, float]]) -> float:
    """Slope of the least-squares line through all but the first fifth, in which much is made for the first time."""
    times, sizes = np.array(samples[len(samples) // 5 :]).T
    return float(np.polyfit(times, sizes, 1)[0]) * 3600
