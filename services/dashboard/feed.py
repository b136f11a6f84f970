"""The newest messages of a session, read once for all who look at it."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from statistics import median
from typing import Final, NamedTuple

from services.dashboard import metrics
from services.dashboard.chunks import Chunk, chunk_of, is_beyond, rate_hz
from services.dashboard.newest import Newest
from services.dashboard.queries import Cursor, MessageRow, Queries, SeriesRow, SessionRow, Window
from services.dashboard.ranges import FULL_RATE_MS

REFRESH_S: Final = 0.2
"""Viewers who ask within this time share one look into the database."""
SHARE_WINDOWS_S: Final = 0.4
"""Viewers of the same windows within this time share one query."""
_OVERLAP_US: Final = 3600 * 1_000_000
"""How far behind the newest message's broker time a look begins: it only spares looking at days long gone."""
_KEEP_ARRIVED_S: Final = 20
_DELAYS: Final = 20
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

    rows: list[Window]
    cursor: Cursor
    read_at: float


class Feed:
    """The last 30 s of one session's readings, kept up to date by whoever asks first."""

    def __init__(self, queries: Queries, session: SessionRow, clock: Callable[[], float]) -> None:
        self.session = session
        self.series: list[SeriesRow] = []
        self.delay_ms: float | None = None
        self._queries = queries
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: Newest | None = None
        self._held: deque[Held] = deque()
        self._cursor: dict[int, int] = {}
        self._broker_us = 0
        self._delays_ms: deque[float] = deque(maxlen=_DELAYS)
        self._forgotten: dict[int, int] = {}
        self._refreshed_at: float | None = None
        self._rates_of: int | None = None
        self._rates: dict[str, float | None] = {}
        self._windows_lock = threading.Lock()
        self._windows: dict[tuple[int, float], HeldWindows] = {}

    def refresh(self) -> bool:
        """Read what is new, unless that was done a moment ago; False if the session is not there any more.

        Raises `DatabaseAwayError`.
        """
        with self._lock:
            if self._refreshed_at is None or self._clock() - self._refreshed_at >= REFRESH_S:
                if not self._read():
                    return False
                self._refreshed_at = self._clock()
            return True

    def age_ms(self) -> float:
        """How long ago PostgreSQL was looked at."""
        with self._lock:
            return 0.0 if self._refreshed_at is None else (self._clock() - self._refreshed_at) * 1000

    def tail(self, seen: Cursor | None) -> Tail:
        """The chunks beyond the cursor `seen`; all chunks for None or a cursor from before the oldest one."""
        with self._lock:
            chunks = [held.chunk for held in self._held]
            cursor = dict(self._cursor)
            is_whole = seen is None or any(is_beyond(item, seen) for item in self._forgotten.items())
        if seen is not None and not is_whole:
            chunks = [chunk for chunk in chunks if is_beyond(chunk.cursor, seen)]
        return Tail(chunks, cursor, is_whole)

    def rates(self, sensors: Iterable[str]) -> dict[str, float]:
        """Readings per second of each of the sensors, from all that is held; no entry where it is not known.

        Learned anew once a second and shared by all viewers.
        """
        with self._lock:
            second = int(self._clock())
            if self._rates_of != second:
                self._rates_of, self._rates = second, {}
            for sensor in sensors:
                if sensor not in self._rates:
                    held = (item.chunk.points for item in self._held)
                    times = [time_ms for points in held if sensor in points for time_ms in points[sensor].times]
                    self._rates[sensor] = rate_hz(times)
            return {sensor: rate for sensor in sensors if (rate := self._rates[sensor]) is not None}

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

    def _read(self) -> bool:
        """Look at the session, if it is there; nothing that is held changes where PostgreSQL does not answer."""
        is_first = self._newest is None
        newest = self._newest or self._begin()
        if newest.time_ms is None:  # without messages, or with none that are still kept: only windows are left
            self.series = self.series or self._queries.series(self.session.session_id)
            found = self._queries.find_session(self.session.device, self.session.session)
            return found is not None and found.session_id == self.session.session_id
        full_us = int((newest.time_ms - FULL_RATE_MS) * 1000)
        look = self._queries.look(self.session.session_id, self._cursor, self._broker_us - _OVERLAP_US, full_us)
        if look is None:
            return False
        chunks = [chunk_of(row, full_us) for row in look.messages]
        if is_first or self._has_new_series(chunks):
            self.series = self._queries.series(self.session.session_id)
        if not is_first:
            self._time(look.messages, look.at_us)
        self._newest = newest
        self._keep(chunks, newest)
        self.session = look.session._replace(last_time_ms=newest.time_ms)
        return True

    def _begin(self) -> Newest:
        """Where the session is, by the messages that came last; the cursor then stands before its last 30 s."""
        newest = Newest()
        spans = self._queries.newest_spans(self.session.session_id)
        for span in reversed(spans):
            newest.add(span.last_us / 1000, span.broker_us / 1000)
        from_us = ((newest.time_ms or 0) - FULL_RATE_MS) * 1000
        for partition in {span.partition for span in spans}:
            there = [span for span in spans if span.partition == partition]
            shown = [span.offset for span in there if span.last_us >= from_us]
            self._cursor[partition] = min(shown) - 1 if shown else max(span.offset for span in there)
        self._broker_us = max((span.broker_us for span in spans), default=0)
        return newest

    def _time(self, found: list[MessageRow], at_us: int) -> None:
        """Learn how long messages take from the broker to here."""
        self._delays_ms.extend((at_us - row.broker_us) / 1000 for row in found)
        if self._delays_ms:
            self.delay_ms = median(self._delays_ms)

    def _keep(self, chunks: Iterable[Chunk], newest: Newest) -> None:
        now = self._clock()
        for chunk in chunks:
            partition, offset = chunk.cursor
            self._held.append(Held(chunk, now))
            self._cursor[partition] = max(offset, self._cursor.get(partition, -1))
            self._broker_us = max(self._broker_us, int(chunk.broker_ms * 1000))
            newest.add(chunk.last_ms, chunk.broker_ms)
        self._forget((newest.time_ms or 0) - FULL_RATE_MS, now - _KEEP_ARRIVED_S)

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

    def forget(self, session: SessionRow) -> None:
        """Let the feed of a session go that is not there any more."""
        with self._lock:
            self._feeds.pop(session.session_id, None)


def span_ms(chunks: Iterable[Chunk]) -> tuple[float, float] | None:
    """Earliest and latest time of the chunks' readings; None without any."""
    spans = [(chunk.first_ms, chunk.last_ms) for chunk in chunks]
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
