"""What the History page asks, and what it is told."""

from typing import Any, Literal, NamedTuple

import msgspec

from services.dashboard.gaps import Gap
from services.dashboard.lines import Line
from services.dashboard.ranges import EVERY_READING


class HistoryAsk(msgspec.Struct, frozen=True, rename={"from_ms": "from", "until_ms": "until"}):
    """What a page wants to see. No `sessions`: all of the device's; no `device`: the newest recording.

    `from` and `until` (ms since the epoch; since each recording's start where `aligned`) None: all there is. `zone` is
    the viewer's.
    """

    device: str | None = None
    sessions: list[str] = []
    sensors: list[str] = []
    from_ms: float | None = None
    until_ms: float | None = None
    aligned: bool = False
    zone: str = "UTC"
    id: int = 0


class Panel(NamedTuple):
    """What is drawn of one sensor: a line per channel and recording."""

    sensor: str
    lines: list[Line]


class Statistic(NamedTuple):
    """What the readings of one channel of one recording are like within the view."""

    sensor: str
    channel: str
    session: str
    readings: int
    mean: float
    deviation: float
    min: float
    max: float


class Mark(NamedTuple):
    """An annotation."""

    time_ms: float
    text: str


class State(NamedTuple):
    """A text that a channel had from a time on."""

    sensor: str
    channel: str
    time_ms: float
    value: str


class HistoryAnswer(msgspec.Struct):
    """What there is. Times in ms since the epoch, or since each recording's start where `aligned`; `step` in s."""

    state: Literal["seen", "empty", "unknown", "away"]
    ask: HistoryAsk
    now: float = 0
    reason: str = ""
    device: str = ""
    sessions: list[dict[str, Any]] = []
    shown: list[str] = []
    sensors: list[str] = []
    chosen: list[str] = []
    view: tuple[float, float] = (0, 0)
    whole: tuple[float, float] = (0, 0)
    step: int = EVERY_READING
    panels: list[Panel] = []
    gaps: list[Gap] = []
    traces: dict[Gap, str] = {}
    marks: list[Mark] = []
    states: list[State] = []
    statistics: list[Statistic] = []


def parse_history_ask(content: object) -> HistoryAsk:
    """What the page sent; anything else is a page that wants to see the newest recording."""
    try:
        return msgspec.convert(content, HistoryAsk)
    except msgspec.ValidationError:
        return HistoryAsk()
