"""The newest messages of a session, read once for all who look at it."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from services.dashboard import metrics
from services.dashboard.chunks import Chunk, chunk_of, is_beyond
from services.dashboard.queries import Cursor, Queries, SeriesRow, SessionRow, WindowRow
from services.dashboard.ranges import FULL_RATE_MS

REFRESH_S: Final = 0.2
"""Viewers who ask within this time share one look into the database."""
SHARE_WINDOWS_S: Final = 0.4
"""Viewers of the same windows within this time share one query."""
LATE_MS: Final = 600_000
"""A message whose readings are this much older than the newest ones appears when the page is opened again."""
_KEEP_ARRIVED_S: Final = 20
_MOST_FEEDS: Final = 100


class Held(NamedTuple):
    """A chunk and when it was read, by the process's own clock."""

    chunk: Chunk
    read_at: float


class Tail(NamedTuple):
    """What a viewer with a certain cursor lacks.

    `is_whole`: there was no cursor, or one from before the oldest chunk, so these are all chunks that are held.
    """

    chunks: list[Chunk]
    cursor: Cursor
    is_whole: bool


class HeldWindows(NamedTuple):
    """Windows, and the cursor of the messages that they hold at least."""

    rows: list[WindowRow]
    cursor: Cursor
    read_at: float


class Feed:
    """The last 30 s of one session's readings, kept up to date by whoever asks first."""

    def __init__(self, queries: Queries, session: SessionRow, clock: Callable[[], float]) -> None:
        self.session = session
        self.series: list[SeriesRow] = []
        self._queries = queries
        self._clock = clock
        self._lock = threading.Lock()
        self._held: deque[Held] = deque()
        self._cursor: dict[int, int] = {}
        self._forgotten: dict[int, int] = {}
        self._refreshed_at: float | None = None
        self._windows_lock = threading.Lock()
        self._windows: dict[tuple[int, float], HeldWindows] = {}

    def refresh(self) -> None:
        """Read what is new, unless that was done a moment ago. Raises `DatabaseAwayError`."""
        with self._lock:
            if self._refreshed_at is None or self._clock() - self._refreshed_at >= REFRESH_S:
                self._read()
                self._refreshed_at = self._clock()

    def tail(self, seen: Cursor | None) -> Tail:
        """The chunks beyond the cursor `seen`; all chunks for None or a cursor from before the oldest one."""
        with self._lock:
            chunks = [held.chunk for held in self._held]
            cursor = dict(self._cursor)
            is_whole = seen is None or any(is_beyond(item, seen) for item in self._forgotten.items())
        if seen is not None and not is_whole:
            chunks = [chunk for chunk in chunks if is_beyond(chunk.cursor, seen)]
        return Tail(chunks, cursor, is_whole)

    def windows(self, step_s: int, from_ms: float, until_ms: float) -> HeldWindows:
        """The session's windows of `step_s` seconds from `from_ms` on. Raises `DatabaseAwayError`."""
        with self._windows_lock:
            now = self._clock()
            recent = {key: held for key, held in self._windows.items() if now - held.read_at < SHARE_WINDOWS_S}
            if (step_s, from_ms) not in recent:
                cursor = self.tail(None).cursor
                series_ids = [row.series_id for row in self.series if row.has_numbers]
                rows = self._queries.windows(series_ids, step_s, from_ms, until_ms)
                recent[step_s, from_ms] = HeldWindows(rows, cursor, now)
            self._windows = recent
            return recent[step_s, from_ms]

    def _read(self) -> None:
        found = self._queries.find_session(self.session.device, self.session.session)
        self.session = found or self.session
        newest_ms = self.session.last_time_ms
        if newest_ms is None:
            return
        first_us = int((newest_ms - LATE_MS) * 1000)
        is_first = self._refreshed_at is None
        last_us = int((newest_ms - FULL_RATE_MS) * 1000) if is_first else first_us
        rows = self._queries.new_messages(self.session.session_id, self._cursor, first_us, last_us)
        chunks = [chunk_of(row) for row in rows]
        if is_first or self._has_new_series(chunks):
            self.series = self._queries.series(self.session.session_id)
        now = self._clock()
        for chunk in chunks:
            partition, offset = chunk.cursor
            self._held.append(Held(chunk, now))
            self._cursor[partition] = max(offset, self._cursor.get(partition, -1))
        self._forget(newest_ms - FULL_RATE_MS, now - _KEEP_ARRIVED_S)

    def _has_new_series(self, chunks: Iterable[Chunk]) -> bool:
        numbers = {(row.sensor, row.channel) for row in self.series if row.has_numbers}
        texts = {(row.sensor, row.channel) for row in self.series if row.has_texts}
        return any(
            any(
                (sensor, channel) not in numbers
                for sensor, columns in chunk.points.items()
                for channel in columns.channels
            )
            or any(
                (sensor, change.channel) not in texts for sensor, changes in chunk.texts.items() for change in changes
            )
            for chunk in chunks
        )

    def _forget(self, before_ms: float, read_before: float) -> None:
        """Drop what no chart at full rate shows any more and every viewer has had time to fetch."""
        while self._held and self._held[0].chunk.last_ms < before_ms and self._held[0].read_at < read_before:
            partition, offset = self._held.popleft().chunk.cursor
            self._forgotten[partition] = max(offset, self._forgotten.get(partition, -1))


class Feeds:
    """One feed per session that somebody looks at; those not asked for the longest are let go."""

    def __init__(self, queries: Queries, clock: Callable[[], float]) -> None:
        self._queries = queries
        self._clock = clock
        self._lock = threading.Lock()
        self._feeds: OrderedDict[int, Feed] = OrderedDict()

    def of(self, session: SessionRow) -> Feed:
        """The feed of the session."""
        with self._lock:
            feed = self._feeds.setdefault(session.session_id, Feed(self._queries, session, self._clock))
            self._feeds.move_to_end(session.session_id)
            if len(self._feeds) > _MOST_FEEDS:
                self._feeds.popitem(last=False)
            metrics.record_sessions_followed(len(self._feeds))
            return feed


def span_ms(chunks: Iterable[Chunk]) -> tuple[float, float] | None:
    """Earliest and latest time of the chunks' readings; None without any."""
    spans = [(chunk.first_ms, chunk.last_ms) for chunk in chunks]
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
