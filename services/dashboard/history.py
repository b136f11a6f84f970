"""The History page's answers: what there is of a phone's recordings in a span of time. Nothing here knows of Dash."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import sqrt
from typing import Final, NamedTuple

from services.dashboard.chunks import LONGEST_TEXT, chunk_of, merged_points
from services.dashboard.database import DatabaseAwayError
from services.dashboard.gaps import HOUR_MS, Gap, gaps_between, gaps_by_hour
from services.dashboard.history_answer import HistoryAnswer, HistoryAsk, Mark, Panel, State, Statistic
from services.dashboard.lines import Line, line_of_readings, line_of_windows
from services.dashboard.news import session_words
from services.dashboard.queries import Queries, SeriesRow, SessionRow
from services.dashboard.queries.history import HistoryQueries, HourRange, NumberedSpan, SeriesOf
from services.dashboard.queries.windows import Window
from services.dashboard.ranges import floor_ms, history_step, kept_step
from services.dashboard.sensors import in_order, is_event, keeps_repeats, place

FULL_RATE_UP_TO_MS: Final = 60_000
"""Views of at most this length show every reading, while the messages are kept."""
EXACT_GAPS_UP_TO_MS: Final = 3 * 3_600_000
"""In views of at most this length missing messages stand where they would be; in longer ones, in their hour."""
MOST_GAPS: Final = 300
_MOST_TRACED: Final = 50
_SHORTEST_MS: Final = 1000


class _Shown(NamedTuple):
    """A recording that is drawn, what is added to its times, and the span of it (own times, ms) that is in view."""

    session: SessionRow
    shift_ms: float
    from_ms: float
    until_ms: float


class History:
    """Answers pages. `clock` tells the time of day in s; `with_traces`: gaps come with what was traced around them."""

    def __init__(
        self,
        queries: Queries,
        history: HistoryQueries,
        clock: Callable[[], float] = time.time,
        *,
        with_traces: bool = False,
    ) -> None:
        self._queries = queries
        self._history = history
        self._clock = clock
        self._with_traces = with_traces

    def answer(self, ask: HistoryAsk) -> HistoryAnswer:
        """What the page wants to see. Says so when PostgreSQL is away; never raises for that."""
        try:
            return self._answer(ask)
        except DatabaseAwayError as error:
            return HistoryAnswer("away", ask, reason=str(error))

    def _answer(self, ask: HistoryAsk) -> HistoryAnswer:
        now_ms = self._clock() * 1000
        device, names = ask.device, ask.sessions
        if device is None:
            newest = self._queries.recent_sessions()[:1]
            if not newest:
                return HistoryAnswer("empty", ask, now_ms)
            device, names = newest[0].device, [newest[0].session]
        sessions = self._history.sessions_of(device)
        wanted = [row for row in sessions if row.last_time_ms is not None and (not names or row.session in names)]
        if not wanted:
            return HistoryAnswer("unknown", ask, now_ms, sessions=[session_words(row, now_ms) for row in sessions])
        whole = _whole(wanted, ask.aligned)
        view = _view(ask, whole)
        shown = _shown(wanted, view, ask.aligned)
        series = self._history.series_of([row.session_id for row in wanted])
        sensors = sorted({row.sensor for row in series}, key=lambda sensor: (place(sensor), sensor))
        chosen = [sensor for sensor in ask.sensors if sensor in sensors] or _usual(sensors)
        answer = HistoryAnswer(
            "seen",
            ask,
            now_ms,
            device=device,
            sessions=[session_words(row, now_ms) for row in sessions],
            shown=[row.session for row in wanted] if names else [],
            sensors=[sensor for sensor in sensors if not is_event(sensor)],
            chosen=chosen,
            view=view,
            whole=whole,
        )
        self._draw(answer, shown, [row for row in series if row.sensor in chosen])
        self._add_gaps(answer, shown)
        answer.marks = self._marks(shown, series)
        answer.states = self._states(shown, [row for row in series if row.sensor in chosen])
        return answer

    def _draw(self, answer: HistoryAnswer, shown: Sequence[_Shown], series: Sequence[SeriesOf]) -> None:
        """Every reading where the view is short and the messages are kept, windows otherwise."""
        length_ms = answer.view[1] - answer.view[0]
        panels: dict[str, list[Line]] = defaultdict(list)
        if length_ms <= FULL_RATE_UP_TO_MS:
            for one in shown:
                self._add_readings(panels, answer, one, set(answer.chosen))
        if not panels:
            answer.step = self.step_of(length_ms, min((one.from_ms for one in shown), default=0.0))
            for together in _by_shift(shown):
                self._add_windows(panels, answer, together, series)
        answer.panels = [Panel(sensor, _ordered(panels[sensor])) for sensor in answer.chosen if panels.get(sensor)]
        places = {(panel.sensor, line.channel): n for panel in answer.panels for n, line in enumerate(panel.lines)}
        answer.statistics.sort(key=lambda row: (answer.chosen.index(row.sensor), places[row.sensor, row.channel]))

    def _add_readings(
        self, panels: dict[str, list[Line]], answer: HistoryAnswer, one: _Shown, chosen: set[str]
    ) -> None:
        rows = self._history.bodies(one.session.session_id, one.from_ms, one.until_ms)
        points = merged_points((chunk_of(row) for row in rows), chosen.__contains__)
        for sensor, columns in points.items():
            for channel, values in columns.channels.items():
                pairs = sorted(
                    (at, value)
                    for at, value in zip(columns.times, values, strict=True)
                    if value is not None and one.from_ms <= at <= one.until_ms
                )
                if pairs:
                    panels[sensor].append(line_of_readings(channel, one.session.session, pairs, one.shift_ms))
                    answer.statistics.append(_of_readings(sensor, channel, one.session.session, pairs))

    def _add_windows(
        self, panels: dict[str, list[Line]], answer: HistoryAnswer, shown: Sequence[_Shown], series: Sequence[SeriesOf]
    ) -> None:
        """The windows of recordings with one shift, by one query."""
        sessions = {one.session.session_id: one for one in shown}
        names = {row.series_id: row for row in series if row.session_id in sessions}
        from_ms = floor_ms(min(one.from_ms for one in shown), answer.step)
        until_ms = max(one.until_ms for one in shown)
        by_series: dict[int, list[Window]] = defaultdict(list)
        for window in self._history.windows(list(names), answer.step, from_ms, until_ms) if names else []:
            by_series[window.series_id].append(window)
        for series_id, windows in by_series.items():
            row, one = names[series_id], sessions[names[series_id].session_id]
            line = line_of_windows(row.channel, one.session.session, windows, answer.step, one.shift_ms)
            panels[row.sensor].append(line)
            answer.statistics.append(_of_windows(row, one.session.session, windows))

    def _add_gaps(self, answer: HistoryAnswer, shown: Sequence[_Shown]) -> None:
        """The missing messages of all recordings in view, the largest holes where there are too many."""
        found: list[tuple[Gap, int, float]] = []
        for one, gaps in zip(shown, self._gaps(shown, answer.view[1] - answer.view[0]), strict=True):
            for gap in gaps:
                moved = gap._replace(from_ms=gap.from_ms + one.shift_ms, until_ms=gap.until_ms + one.shift_ms)
                found.append((moved, one.session.session_id, gap.until_ms))
        found.sort(key=lambda hole: hole[0].missing, reverse=True)
        answer.gaps = sorted(gap for gap, *_ in found[:MOST_GAPS])
        traced = found[:_MOST_TRACED] if self._with_traces else []
        traces = self._history.traces([(session_id, until_ms) for _, session_id, until_ms in traced]) if traced else []
        answer.traces = {gap: trace for (gap, *_), trace in zip(traced, traces, strict=True) if trace}

    def _gaps(self, shown: Sequence[_Shown], length_ms: float) -> Iterator[list[Gap]]:
        """Those of each recording; in a long view all recordings are asked for at once."""
        if length_ms <= EXACT_GAPS_UP_TO_MS:
            yield from (self.gaps_of(one.session, one.from_ms, one.until_ms, length_ms) for one in shown)
        elif shown:
            hours = [int(each // HOUR_MS) for one in shown for each in (one.from_ms, one.until_ms)]
            ranges = self._history.ledger([one.session.session_id for one in shown], min(hours), max(hours))
            for one in shown:
                own = ranges.get(one.session.session_id, [])
                yield [
                    gap
                    for gap in _gaps_of_hours(own, one.session)
                    if gap.until_ms >= one.from_ms and gap.from_ms <= one.until_ms
                ]

    def step_of(self, length_ms: float, from_ms: float) -> int:
        """The step in s of the windows with which a span of that length that begins at `from_ms` is shown."""
        return kept_step(history_step(length_ms), from_ms, self._history.kept())

    def gaps_of(self, session: SessionRow, from_ms: float, until_ms: float, length_ms: float) -> list[Gap]:
        """The missing messages of a recording within the span: exact where the view is short and they are kept."""
        if length_ms <= EXACT_GAPS_UP_TO_MS:
            margin = length_ms  # holes reach out of the view
            numbers = self._history.numbers(session.session_id, from_ms - margin, until_ms + margin)
            if numbers:
                return [gap for gap in gaps_between(numbers) if gap.until_ms >= from_ms and gap.from_ms <= until_ms]
        found = self._history.ledger([session.session_id], int(from_ms // HOUR_MS), int(until_ms // HOUR_MS))
        return _gaps_of_hours(found.get(session.session_id, []), session)

    def series(self, session_id: int) -> list[SeriesRow]:
        """All series of a session."""
        return self._queries.series(session_id)

    def all_gaps(self, session: SessionRow) -> Iterator[Gap]:
        """The missing messages of a whole recording, hour by hour: exact where they are kept."""
        kept: list[NumberedSpan] = []
        for hour in self._history.ledger_hours(session.session_id):
            numbers = self._history.numbers(session.session_id, hour * HOUR_MS, (hour + 1) * HOUR_MS - 0.001)
            if numbers:
                yield from (gap for gap in gaps_between([*kept, *numbers]) if gap.until_ms >= hour * HOUR_MS)
                kept = [max(numbers)]
            else:
                yield from self.gaps_of(session, hour * HOUR_MS, hour * HOUR_MS, float("inf"))
                kept = []

    def _marks(self, shown: Sequence[_Shown], series: Iterable[SeriesOf]) -> list[Mark]:
        """The annotations in view."""
        events = [row for row in series if is_event(row.sensor)]
        return [
            Mark(state.time_ms, state.value)
            for state, from_ms in self._texts(shown, events)
            if state.time_ms >= from_ms
        ]

    def _states(self, shown: Sequence[_Shown], series: Iterable[SeriesOf]) -> list[State]:
        """How the texts of the chosen sensors change within the view, with what they were before it; no pictures."""
        return [state for state, _ in self._texts(shown, [row for row in series if not keeps_repeats(row.sensor)])]

    def _texts(self, shown: Sequence[_Shown], series: Sequence[SeriesOf]) -> Iterator[tuple[State, float]]:
        """Each text, and where the view of its recordings begins."""
        for together in _by_shift(shown):
            sessions = {one.session.session_id for one in together}
            own = {row.series_id: row for row in series if row.session_id in sessions}
            from_ms, until_ms = min(one.from_ms for one in together), max(one.until_ms for one in together)
            shift_ms = together[0].shift_ms
            asked = {series_id: is_event(row.sensor) for series_id, row in own.items()}
            for text in self._queries.text_changes(asked, from_ms, until_ms, LONGEST_TEXT) if own else []:
                row = own[text.series_id]
                yield State(row.sensor, row.channel, text.time_ms + shift_ms, text.value), from_ms + shift_ms


def _usual(sensors: Sequence[str]) -> list[str]:
    """What is shown of a recording when nothing is chosen: its first sensor that is no happening."""
    return [sensor for sensor in sensors if not is_event(sensor)][:1]


def _by_shift(shown: Iterable[_Shown]) -> list[list[_Shown]]:
    """The recordings in groups whose times are moved by the same amount: all of them, unless they are aligned."""
    groups: dict[float, list[_Shown]] = defaultdict(list)
    for one in shown:
        groups[one.shift_ms].append(one)
    return list(groups.values())


def _gaps_of_hours(ranges: Sequence[HourRange], session: SessionRow) -> list[Gap]:
    return gaps_by_hour(ranges, session.first_time_ms or 0.0, session.last_time_ms or 0.0)


def _ordered(lines: Sequence[Line]) -> list[Line]:
    order = {channel: n for n, channel in enumerate(in_order({line.channel for line in lines}))}
    return sorted(lines, key=lambda line: order[line.channel])


def _whole(sessions: Sequence[SessionRow], aligned: bool) -> tuple[float, float]:
    starts = [row.first_time_ms or 0.0 for row in sessions]
    ends = [row.last_time_ms or 0.0 for row in sessions]
    if aligned:
        return 0.0, max(end - start for start, end in zip(starts, ends, strict=True))
    return min(starts), max(ends)


def _view(ask: HistoryAsk, whole: tuple[float, float]) -> tuple[float, float]:
    """The span to show: as asked for, but never without length."""
    from_ms = whole[0] if ask.from_ms is None else ask.from_ms
    until_ms = whole[1] if ask.until_ms is None else ask.until_ms
    from_ms, until_ms = min(from_ms, until_ms), max(from_ms, until_ms)
    return from_ms, max(until_ms, from_ms + _SHORTEST_MS)


def _shown(sessions: Sequence[SessionRow], view: tuple[float, float], aligned: bool) -> list[_Shown]:
    """The recordings that have something in view."""
    found = []
    for row in sessions:
        first_ms, last_ms = row.first_time_ms or 0.0, row.last_time_ms or 0.0
        shift_ms = -first_ms if aligned else 0.0
        from_ms, until_ms = max(first_ms, view[0] - shift_ms), min(last_ms, view[1] - shift_ms)
        if from_ms <= until_ms:
            found.append(_Shown(row, shift_ms, from_ms, until_ms))
    return found


def _of_readings(sensor: str, channel: str, session: str, pairs: Sequence[tuple[float, float]]) -> Statistic:
    values = [value for _, value in pairs]
    mean = sum(values) / len(values)
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return Statistic(sensor, channel, session, len(values), mean, deviation, min(values), max(values))


def _of_windows(row: SeriesOf, session: str, windows: Sequence[Window]) -> Statistic:
    """All windows as one, by Chan's formula (see services/stream/windows.py)."""
    count, mean, m2 = 0, 0.0, 0.0
    for window in windows:
        total, delta = count + window.readings, window.mean - mean
        mean += delta * window.readings / total
        m2 += window.m2 + delta * delta * count * window.readings / total
        count = total
    lowest, highest = min(window.min for window in windows), max(window.max for window in windows)
    return Statistic(row.sensor, row.channel, session, count, mean, sqrt(m2 / count), lowest, highest)
