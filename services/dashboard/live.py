"""The Live page's answers: what a page that knows this much still lacks. Nothing here knows of Dash."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from services.dashboard import metrics
from services.dashboard.chunks import (
    LONGEST_TEXT,
    Chunk,
    TextChange,
    latest_values,
    merged_points,
    merged_texts,
    shortened,
)
from services.dashboard.database import DatabaseAwayError
from services.dashboard.feed import Feed, Feeds, Tail, span_ms
from services.dashboard.news import (
    Answer,
    Ask,
    News,
    cards_of,
    points_json,
    session_words,
    signature,
    texts_json,
    windows_json,
)
from services.dashboard.queries import Queries, SessionRow
from services.dashboard.ranges import DEFAULT_RANGE, EVERY_READING, RANGES, View, floor_ms, view
from services.dashboard.sensors import keeps_repeats

_LATEST_WITHIN_MS: Final = 24 * 3600 * 1000
_TEXTS_WITHIN_MS: Final = 600_000
_CHOICES_S: Final = 2.0


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
        feed = self._feed(ask)
        if feed is None:
            return Answer(News("unknown" if ask.device or ask.session else "empty", now_ms), [])
        tail = feed.tail(ask.cursor)
        news = self._news(ask, feed, tail, now_ms)
        return Answer(news, None if news.cards == ask.cards else cards_of(feed.series))

    def _feed(self, ask: Ask) -> Feed | None:
        """What is held of the recording that is asked for, up to date; None if there is none.

        One that has just been deleted may still be among the choices: they are then read again, once.
        """
        for _ in range(2):
            session = self._choices.find(ask.device, ask.session)
            if session is None:
                return None
            feed = self._feeds.of(session)
            if feed.refresh():
                return feed
            self._feeds.forget(session)
            self._choices.forget()
        return None

    def _news(self, ask: Ask, feed: Feed, tail: Tail, now_ms: float) -> News:
        session = feed.session
        first_ms, last_ms = session.first_time_ms or now_ms, session.last_time_ms or now_ms
        words = session_words(session, now_ms)
        if words["is_running"]:
            metrics.record_newest_reading_age((now_ms - last_ms) / 1000)
        shown = view(ask.range, first_ms, last_ms)
        is_whole = tail.is_whole or ask.step != shown.step_s
        news = News(
            "live",
            now_ms,
            session=words,
            delay=feed.delay_ms,
            looked=round(feed.age_ms()),
            range=ask.range if ask.range in RANGES else DEFAULT_RANGE,
            view=shown,
            is_whole=is_whole,
            cursor=dict(tail.cursor),
            cards=signature(session.session_id, feed.series),
            base=shown.from_ms // 1000 * 1000,
        )
        chunks = feed.tail(None).chunks if is_whole else tail.chunks
        points = merged_points(chunks, ask.wants)
        if shown.step_s == EVERY_READING:
            news.points = points_json(points, news.base)
        else:
            self._add_windows(news, ask, feed, tail.chunks)
        news.latest = {sensor: latest_values(columns) for sensor, columns in points.items()}
        news.rates = feed.rates(points)
        if is_whole:
            self._add_older(news, ask, feed)
        else:
            news.texts = texts_json(merged_texts(chunks, ask.wants))
        return news

    def _add_windows(self, news: News, ask: Ask, feed: Feed, chunks: Sequence[Chunk]) -> None:
        """The windows of the whole view, or only those that the new messages have touched."""
        shown = View(*news.view) if news.view else None
        span = shown and (shown[:2] if news.is_whole else span_ms(chunks))
        if shown is not None and span is not None:
            from_ms = floor_ms(max(span[0], shown.from_ms), shown.step_s)
            held = feed.windows(shown.step_s, from_ms, min(span[1], shown.until_ms))
            series = [row for row in feed.series if ask.wants(row.sensor)]
            news.windows = windows_json(held.rows, series, news.base)
            news.cursor = dict(held.cursor)

    def _add_older(self, news: News, ask: Ask, feed: Feed) -> None:
        """Values from before the last 30 s, the newest of each series, and the texts of the view."""
        series = {row.series_id: row for row in feed.series if ask.wants(row.sensor)}
        from_ms = (feed.session.last_time_ms or 0) - _LATEST_WITHIN_MS
        missing = [
            row.series_id
            for row in series.values()
            if row.has_numbers and row.channel not in news.latest.get(row.sensor, {})
        ]
        for window in self._queries.newest_windows(missing, from_ms) if missing else []:
            row = series[window.series_id]
            value = shortened(row.channel, window.mean)
            news.latest.setdefault(row.sensor, {})[row.channel] = (window.start_ms, value)
        are_events = {row.series_id: keeps_repeats(row.sensor) for row in series.values() if row.has_texts}
        if not are_events or news.view is None:
            return
        shown = View(*news.view)
        from_ms = min(shown.from_ms, shown.until_ms - _TEXTS_WITHIN_MS)
        older: dict[str, list[TextChange]] = defaultdict(list)
        for text in self._queries.text_changes(are_events, from_ms, shown.until_ms + 1000, LONGEST_TEXT):
            row = series[text.series_id]
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

    def forget(self) -> None:
        """Read the recordings anew when they are asked for next."""
        with self._lock:
            self._read_at = float("-inf")

    def find(self, device: str | None, session: str | None) -> SessionRow | None:
        """The newest recording that is asked for; one that is not among the newest is looked up."""
        fitting = (row for row in self.rows() if device in (None, row.device) and session in (None, row.session))
        return next(fitting, None) or (self._queries.find_session(device, session) if device is not None else None)
