"""The Live page's answers: what a page that knows this much still lacks. Nothing here knows of Dash."""

import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from services.dashboard.chunks import (
    LONGEST_TEXT,
    Chunk,
    Columns,
    TextChange,
    latest_values,
    merged_points,
    merged_texts,
    rate_hz,
    shortened,
)
from services.dashboard.database import DatabaseAwayError
from services.dashboard.feed import Feed, Feeds, Tail, span_ms
from services.dashboard.queries import Queries, SeriesRow, SessionRow, WindowRow
from services.dashboard.ranges import DEFAULT_RANGE, EVERY_READING, RANGES, View, floor_ms, view
from services.dashboard.sensors import in_order

RUNNING_MS: Final = 60_000
"""A recording counts as running while its newest message came less than this ago."""
_LATEST_WITHIN_MS: Final = 24 * 3600 * 1000
_CHOICES_S: Final = 2.0


class Ask(msgspec.Struct, frozen=True):
    """What a page says about itself: what it shows (None: choose for me) and what it has got.

    `cursor` is the newest offset by partition, `step` the step of the windows it holds, `cards` the `News.cards` of
    the cards it shows, `id` the number of the question, which the answer repeats.
    """

    device: str | None = None
    session: str | None = None
    range: str = DEFAULT_RANGE
    cursor: dict[int, int] | None = None
    step: int | None = None
    cards: str = ""
    id: int = 0


class News(msgspec.Struct, omit_defaults=True):
    """The answer, as the page's script reads it. Times in ms since the epoch; `now` is the server's.

    `points`: columns by sensor, times relative to `base`. `windows`: by sensor and channel, rows of start relative to
    `base`, mean, min, max. `latest`: by sensor and channel, time and value. `rates`: readings/s by sensor.
    """

    state: Literal["live", "empty", "unknown", "away"]
    now: float
    id: int = 0
    reason: str = ""
    session: dict[str, Any] = {}
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


class Live:
    """Answers pages. One object serves all viewers, who share what is read.

    `clock` tells the time of day and `steady` how much of it passes, both in s.
    """

    def __init__(
        self, queries: Queries, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._queries = queries
        self._feeds = Feeds(queries, steady)
        self._clock = clock
        self._choices = _Choices(queries, steady)

    def answer(self, ask: Ask) -> Answer:
        """What is new for the page that asks. Says so when PostgreSQL is away; never raises for that."""
        now_ms = self._clock() * 1000
        try:
            answer = self._answer(ask, now_ms)
        except DatabaseAwayError as error:
            answer = Answer(News("away", now_ms, reason=str(error)), None)
        answer.news.id = ask.id
        return answer

    def choices(self) -> list[dict[str, Any]]:
        """The recordings to choose from, the newest first. Raises `DatabaseAwayError`."""
        now_ms = self._clock() * 1000
        return [session_words(row, now_ms) for row in self._choices.rows()]

    def _answer(self, ask: Ask, now_ms: float) -> Answer:
        session = self._choices.find(ask.device, ask.session)
        if session is None:
            return Answer(News("unknown" if ask.device or ask.session else "empty", now_ms), [])
        feed = self._feeds.of(session)
        feed.refresh()
        tail = feed.tail(ask.cursor)
        news = self._news(ask, feed, tail, now_ms)
        return Answer(news, None if news.cards == ask.cards else cards_of(feed.series))

    def _news(self, ask: Ask, feed: Feed, tail: Tail, now_ms: float) -> News:
        session = feed.session
        first_ms, last_ms = session.first_time_ms or now_ms, session.last_time_ms or now_ms
        shown = view(ask.range, first_ms, last_ms)
        is_whole = tail.is_whole or ask.step != shown.step_s
        news = News(
            "live",
            now_ms,
            session=session_words(session, now_ms),
            range=ask.range if ask.range in RANGES else DEFAULT_RANGE,
            view=shown,
            is_whole=is_whole,
            cursor=dict(tail.cursor),
            cards=signature(session.session_id, feed.series),
            base=shown.from_ms // 1000 * 1000,
        )
        if shown.step_s == EVERY_READING:
            chunks = feed.tail(None).chunks if is_whole else tail.chunks
            news.points = points_json(merged_points(chunks), news.base)
        else:
            news.windows = self._windows(feed.series, shown, is_whole, tail.chunks, news.base)
        self._add_latest(news, feed, tail.chunks, is_whole)
        return news

    def _windows(
        self, series: Sequence[SeriesRow], shown: View, is_whole: bool, chunks: Sequence[Chunk], base: float
    ) -> dict[str, Any]:
        """The windows of the whole view, or only those that the new messages have touched."""
        span = (shown.from_ms, shown.until_ms) if is_whole else span_ms(chunks)
        if span is None:
            return {}
        from_ms = floor_ms(max(span[0], shown.from_ms), shown.step_s)
        numeric = [row for row in series if row.has_numbers]
        rows = self._queries.windows([row.series_id for row in numeric], shown.step_s, from_ms, span[1])
        return windows_json(rows, numeric, base)

    def _add_latest(self, news: News, feed: Feed, chunks: Sequence[Chunk], is_whole: bool) -> None:
        """Current values, rates and texts: of what is new, or of everything for a page that has nothing."""
        held = feed.tail(None).chunks
        chunks = held if is_whole else chunks
        points = merged_points(chunks)
        news.latest = {sensor: latest_values(columns) for sensor, columns in points.items()}
        news.rates = rates(held, points)
        news.texts = texts_json(merged_texts(chunks))
        if is_whole:
            self._add_older(news, feed)

    def _add_older(self, news: News, feed: Feed) -> None:
        """Values and texts from before the last 30 s: the newest of each series."""
        from_ms = (feed.session.last_time_ms or 0) - _LATEST_WITHIN_MS
        missing = {
            row.series_id: row
            for row in feed.series
            if row.has_numbers and row.channel not in news.latest.get(row.sensor, {})
        }
        for window in self._queries.newest_windows(list(missing), from_ms) if missing else []:
            row = missing[window.series_id]
            value = shortened(row.channel, window.mean)
            news.latest.setdefault(row.sensor, {})[row.channel] = (window.start_ms, value)
        with_texts = {row.series_id: row for row in feed.series if row.has_texts}
        older: dict[str, list[TextChange]] = defaultdict(list)
        for text in self._queries.newest_texts(list(with_texts), LONGEST_TEXT) if with_texts else []:
            row = with_texts[text.series_id]
            older[row.sensor].append(TextChange(round(text.time_ms, 1), row.channel, text.value))
        news.texts = texts_json(older)


class _Choices:
    """The recordings to choose from, read at most every 2 s for all viewers."""

    def __init__(self, queries: Queries, clock: Callable[[], float]) -> None:
        self._queries = queries
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: list[SessionRow] = []
        self._read_at = float("-inf")

    def rows(self) -> list[SessionRow]:
        """The newest recordings. Raises `DatabaseAwayError`."""
        with self._lock:
            if self._clock() - self._read_at >= _CHOICES_S or not self._rows:
                self._rows = self._queries.recent_sessions()
                self._read_at = self._clock()
            return self._rows

    def find(self, device: str | None, session: str | None) -> SessionRow | None:
        """The newest recording that is asked for; one that is not among the newest is looked up."""
        fitting = (row for row in self.rows() if device in (None, row.device) and session in (None, row.session))
        return next(fitting, None) or self._queries.find_session(device, session)


def parse_ask(content: object) -> Ask:
    """What the page sent, as an `Ask`; anything else is a page that has nothing yet."""
    try:
        return msgspec.convert(content, Ask, str_keys=True)
    except msgspec.ValidationError:
        return Ask()


def session_words(row: SessionRow, now_ms: float) -> dict[str, Any]:
    """A recording as the page's script reads it."""
    return {
        "device": row.device,
        "name": row.device_name or f"Phone {row.device[:8]}",
        "session": row.session,
        "first": row.first_time_ms,
        "last": row.last_time_ms,
        "seen": row.last_seen_ms,
        "is_running": now_ms - row.last_seen_ms < RUNNING_MS,
        "messages": row.messages,
        "readings": row.readings,
    }


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


def rates(held: Sequence[Chunk], sensors: Iterable[str]) -> dict[str, float]:
    """Readings per second of each of the sensors, from all chunks that are held; no entry where it is not known."""
    found = {}
    for sensor in sensors:
        times = [time_ms for chunk in held if sensor in chunk.points for time_ms in chunk.points[sensor].times]
        rate = rate_hz(times)
        if rate is not None:
            found[sensor] = rate
    return found


def points_json(points: Mapping[str, Columns], base: float) -> dict[str, Any]:
    """Columns by sensor, with times relative to `base`: short to send."""
    return {
        sensor: {"t": [_short(time_ms - base) for time_ms in columns.times], "c": columns.channels}
        for sensor, columns in points.items()
    }


def windows_json(rows: Iterable[WindowRow], series: Iterable[SeriesRow], base: float) -> dict[str, Any]:
    """Rows of (start relative to `base`, mean, min, max) by sensor and channel."""
    names = {row.series_id: (row.sensor, row.channel) for row in series}
    windows: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for row in rows:
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
