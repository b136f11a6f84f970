"""Points of a micro-batch at which a test can hold the stream, so that it can be ended just there.

Without STREAM_HOLD_DIR, which only tests set, a point costs one look into the environment. With it, the file POINT in
that directory holds the next process that comes by: it renames the file to POINT.held and waits until that is gone.
"""

import os
import time
from pathlib import Path
from typing import Literal

Point = Literal["in_task", "before_transaction", "before_commit", "after_commit"]


def hold(point: Point) -> None:
    """Wait here if a test asks for it."""
    if directory := os.environ.get("STREAM_HOLD_DIR"):
        _wait(Path(directory, point))


def _wait(asked: Path) -> None:
    held = asked.with_suffix(".held")
    try:
        asked.rename(held)
    except FileNotFoundError:
        return
    while held.exists():
        time.sleep(0.01)
