"""What goes wrong, and when: derived from a seed alone."""

from random import Random
from typing import NamedTuple


class Step(NamedTuple):
    """Wait `pause_s`, then inject the fault of that name. With `overlap` its recovery is not waited for."""

    pause_s: float
    fault: str
    overlap: bool


def make_schedule(seed, names, count, longest_pause_s=8, overlapping=0.2):
    """`count` steps over the faults `names`: each of them comes once before any comes again."""
    random = Random(f"schedule {seed}")
    steps, left = [], []
    for _ in range(count):
        if not left:
            left = sorted(names)
            random.shuffle(left)
        steps.append(Step(round(random.uniform(1, longest_pause_s), 1), left.pop(), random.random() < overlapping))
    return steps
