"""What a page and the server tell each other about a recording: questions, answers and the cards to show."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from services.dashboard.chunks import Columns, TextChange, shortened
from services.dashboard.queries import SeriesRow, SessionRow, Window
from services.dashboard.ranges import DEFAULT_RANGE
from services.dashboard.sensors import in_order, is_event

RUNNING_MS: Final = 60_000
"""A recording counts as running while its newest message came less than this ago."""


class Ask(msgspec.Struct, frozen=True):
    """What a page says about itself: what it shows (None: choose for me) and what it has got.

    `cursor` is the newest offset by partition, `step` the step of the windows it holds, `cards` the `News.cards` of
    the cards it shows, `sensors` those it wants data of (None: all), `id` the number of the question, which the
    answer repeats.
    """

    device: str | None = None
    session: str | None = None
    range: str = DEFAULT_RANGE
    cursor: dict[int, int] | None = None
    step: int | None = None
    cards: str = ""
    sensors: frozenset[str] | None = None
    id: int = 0

    def wants(self, sensor: str) -> bool:
        """True when the page shows the sensor's card, or the sensor's events as lines across all cards."""
        return self.sensors is None or sensor in self.sensors or is_event(sensor)


class News(msgspec.Struct, omit_defaults=True):
    """The answer, as the page's script reads it. Times in ms since the epoch; `now` is the server's.

    `delay`: ms from the broker to here, as newest messages took it. `looked`: ms since PostgreSQL was looked at, which
    all who follow the recording share.
    `points`: columns by sensor, times relative to `base`. `windows`: by sensor and channel, rows of start relative to
    `base`, mean, min, max. `latest`: by sensor and channel, time and value. `rates`: readings/s by sensor.
    """

    state: Literal["live", "empty", "unknown", "away"]
    now: float
    id: int = 0
    reason: str = ""
    session: dict[str, Any] = {}
    delay: float | None = None
    looked: int = 0
    range: str = ""
    view: tuple[float, float, int] | None = None
    is_whole: bool = False
    cursor: dict[int, int] = {}
    cards: str = ""
    base: float = 0
    points: dict[str, Any] = {}
    windows: dict[str, Any] = {}
    latest: dict[str, dict[str, tuple[float, float]]] = {}
    rates: dict[str, float] = {}
    texts: dict[str, list[tuple[float, str, str]]] = {}


class Card(NamedTuple):
    """A sensor to show, and its channels in order: those with numbers and those with texts."""

    sensor: str
    numbers: list[str]
    texts: list[str]


class Answer(NamedTuple):
    """News for a page, and the cards it should show if they are not the ones it has."""

    news: News
    cards: list[Card] | None


def parse_ask(content: object) -> Ask:
    """What the page sent, as an `Ask`; anything else is a page that has nothing yet."""
    try:
        return msgspec.convert(content, Ask, str_keys=True)
    except msgspec.ValidationError:
        return Ask()


def session_words(row: SessionRow, now_ms: float) -> dict[str, Any]:
    """A recording as the page's script reads it."""
    return {
        "id": row.session_id,
        "device": row.device,
        "name": row.device_name or f"Phone {row.device[:8]}",
        "session": row.session,
        "first": row.first_time_ms,
        "last": row.last_time_ms,
        "seen": row.last_seen_ms,
        "is_running": now_ms - row.last_seen_ms < RUNNING_MS,
        "messages": row.messages,
        "readings": row.readings,
        "title": row.title or "",
        "units": units_words(row.platform, row.standardised),
    }


def units_words(platform: str | None, standardised: bool | None) -> str:
    """Which units and signs a phone's readings have, as far as somebody has said so on the Phones page."""
    if standardised:
        return "Units and signs are standardised."
    if standardised is False and platform:
        name, other = ("iOS", "Android") if platform == "ios" else ("Android", "iOS")
        return f"Units and signs are those of {name}, which differ from {other}’s."
    return "Units and signs are as the phone sends them; iOS and Android differ unless the app standardises them."


def cards_of(series: Iterable[SeriesRow]) -> list[Card]:
    """One card per sensor, in the order in which the sensors were first seen."""
    numbers: dict[str, list[str]] = {}
    texts: dict[str, list[str]] = {}
    for row in series:
        for has_any, channels in ((row.has_numbers, numbers), (row.has_texts, texts)):
            channels.setdefault(row.sensor, []).extend([row.channel] if has_any else [])
    return [Card(sensor, in_order(numbers[sensor]), in_order(texts[sensor])) for sensor in numbers]


def signature(session_id: int, series: Sequence[SeriesRow]) -> str:
    """Changes when the cards to show do."""
    return f"{session_id}-{zlib.crc32(repr(series).encode()):08x}"


def points_json(points: Mapping[str, Columns], base: float) -> dict[str, Any]:
    """Columns by sensor, with times relative to `base`: short to send."""
    return {
        sensor: {"t": [_short(time_ms - base) for time_ms in columns.times], "c": columns.channels}
        for sensor, columns in points.items()
    }


def windows_json(rows: Iterable[Window], series: Iterable[SeriesRow], base: float) -> dict[str, Any]:
    """Rows of (start relative to `base`, mean, min, max) by sensor and channel, of the series alone."""
    names = {row.series_id: (row.sensor, row.channel) for row in series}
    windows: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for row in rows:
        if row.series_id not in names:
            continue
        sensor, channel = names[row.series_id]
        values = (shortened(channel, value) for value in (row.mean, row.min, row.max))
        windows.setdefault(sensor, {}).setdefault(channel, []).append((_short(row.start_ms - base), *values))
    return windows


def texts_json(texts: Mapping[str, Sequence[TextChange]]) -> dict[str, list[tuple[float, str, str]]]:
    """(time, channel, value) by sensor, oldest first."""
    return {
        sensor: [
            (change.time_ms, change.channel, change.value) for change in sorted(changes, key=lambda one: one.time_ms)
        ]
        for sensor, changes in texts.items()
    }


def _short(time_ms: float) -> float:
    rounded = round(time_ms, 1)
    return int(rounded) if rounded == int(rounded) else rounded
