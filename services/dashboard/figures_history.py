"""The History page's figure, with its data: a panel per sensor and unit above one time axis. Pure functions."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Final, NamedTuple

from services.dashboard import sensors
from services.dashboard.figures import Figure, color, faint
from services.dashboard.gaps import Gap
from services.dashboard.history_answer import HistoryAnswer, Mark, Panel
from services.dashboard.lines import Line
from services.dashboard.zones import Zone

PANEL_HEIGHT: Final = 230
"""px of each panel."""
_BETWEEN: Final = 34
_MARGIN: Final = {"l": 56, "r": 12, "t": 26, "b": 34}
_DASHES: Final = ("solid", "dot", "dash", "dashdot", "longdash")
_LONGEST_MARK: Final = 24
_MOST_LABELS: Final = 12
_FEW_POINTS: Final = 120
_MOST_WORDS: Final = 30
_GREY: Final = "#868e96"
_MISSING: Final = "rgba(240,62,62,0.16)"
_MISSING_WORDS: Final = "#e03131"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Part(NamedTuple):
    """One panel: lines of one sensor that share a unit."""

    title: str
    lines: list[Line]


def history_figure(answer: HistoryAnswer, zone: Zone) -> Figure:
    """All panels of an answer; times in `zone`, UTC beside them on hover."""
    clock = _Clock(zone, answer.ask.aligned)
    parts = [part for panel in answer.panels for part in _parts(panel)]
    traces = [trace for number, part in enumerate(parts, 1) for trace in _traces(part, number, clock, answer)]
    layout = {
        "autosize": True,
        "height": figure_height(len(parts)),
        "margin": _MARGIN,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "x unified",
        "dragmode": "zoom",
        "font": {"family": "inherit", "size": 11, "color": _GREY},
        "shapes": [*_gap_shapes(answer.gaps, clock), *_mark_shapes(answer.marks, clock)],
        "annotations": _titles(parts),
        "xaxis": _time_axis(answer.view, clock, len(parts)),
        **_value_axes(len(parts)),
        "uirevision": str(answer.ask.id),
    }
    return {"data": traces, "layout": layout}


def figure_height(panels: int) -> int:
    """px of the whole figure."""
    return max(1, panels) * (PANEL_HEIGHT + _BETWEEN) + _MARGIN["t"] + _MARGIN["b"] - _BETWEEN


class _Clock:
    """Times as the axis takes them: local ones, or what has passed since the start."""

    def __init__(self, zone: Zone, is_elapsed: bool) -> None:
        self.zone = zone
        self.is_elapsed = is_elapsed

    def at(self, time_ms: float | None) -> float | None:
        if time_ms is None:
            return None
        at = round(time_ms if self.is_elapsed else self.zone.local(time_ms), 1)
        return int(at) if at == int(at) else at

    def utc(self, time_ms: float) -> str:
        if self.is_elapsed:
            return ""
        return (_EPOCH + timedelta(milliseconds=time_ms)).strftime("%H:%M:%S UTC")


def _parts(panel: Panel) -> list[_Part]:
    channels = list(dict.fromkeys(line.channel for line in panel.lines))
    if len(channels) > 1 and "accuracy" in channels:
        channels.remove("accuracy")  # 0 to 3: a panel of its own would be all it says
    title = sensors.title(panel.sensor)
    found = []
    for group in sensors.by_unit(panel.sensor, channels):
        unit = sensors.unit(panel.sensor, group[0])
        lines = [line for line in panel.lines if line.channel in group]
        found.append(_Part(f"{title}, {unit}" if unit else title, lines))
    return found


def _traces(part: _Part, number: int, clock: _Clock, answer: HistoryAnswer) -> Iterable[Figure]:
    channels = list(dict.fromkeys(line.channel for line in part.lines))
    sessions = list(dict.fromkeys(line.session for line in part.lines))
    is_compared = answer.ask.aligned and len(sessions) > 1
    axis = "y" if number == 1 else f"y{number}"
    for position, line in enumerate(part.lines):
        shade = color(channels.index(line.channel))
        name = line.channel
        if is_compared:
            shade = color(channels.index(line.channel) * len(sessions) + sessions.index(line.session))
            name = f"{line.channel} ({session_name(answer, line.session)})"
        dash = _DASHES[sessions.index(line.session) % len(_DASHES)] if is_compared else "solid"
        if line.band_x:
            yield _band(line, shade, axis, clock)
        trace = _line(line, name, axis, clock)
        trace |= {"line": {"color": shade, "dash": dash, "width": 1.5}, "marker": {"size": 4, "color": shade}}
        yield _with_utc(trace, line, clock) if position == 0 else trace


def session_name(answer: HistoryAnswer, session: str) -> str:
    """A recording as people call it: when it began."""
    row = next((row for row in answer.sessions if row["session"] == session), None)
    if row is None or row["first"] is None:
        return session[:8]
    zone = Zone(answer.ask.zone)
    return (_EPOCH + timedelta(milliseconds=zone.local(row["first"]))).strftime("%d %b %H:%M:%S")


def _band(line: Line, shade: str, axis: str, clock: _Clock) -> Figure:
    return {
        "type": "scatter",
        "x": [clock.at(at) for at in line.band_x],
        "y": line.band_y,
        "yaxis": axis,
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": faint(shade),
        "hoverinfo": "skip",
    }


def _line(line: Line, name: str, axis: str, clock: _Clock) -> Figure:
    return {
        "type": "scatter",
        "name": escape(name),
        "x": [clock.at(at) for at in line.x],
        "y": line.y,
        "yaxis": axis,
        "mode": "lines+markers" if len(line.x) <= _FEW_POINTS else "lines",
        "connectgaps": False,
        "hovertemplate": "%{y:.6~g}",
    }


def _with_utc(trace: Figure, line: Line, clock: _Clock) -> Figure:
    """The first line of a panel says the time in UTC too."""
    if clock.is_elapsed:
        return trace
    times = [clock.utc(at) for at in line.x]
    return {**trace, "customdata": times, "hovertemplate": "%{y:.6~g} · %{customdata}"}


def _gap_shapes(gaps: Sequence[Gap], clock: _Clock) -> list[Figure]:
    """A shade over each hole, across all panels, and how many messages are missing in it while there are few holes."""
    has_words = len(gaps) <= _MOST_LABELS
    font = {"size": 11, "color": _MISSING_WORDS}
    return [
        {
            "type": "rect",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": clock.at(gap.from_ms),
            "x1": clock.at(gap.until_ms),
            "fillcolor": _MISSING,
            "line": {"width": 1, "color": _MISSING},
            "layer": "below",
            "label": {"text": f"−{gap.missing}" if has_words else "", "textposition": "bottom center", "font": font},
        }
        for gap in gaps
    ]


def _mark_shapes(marks: Sequence[Mark], clock: _Clock) -> list[Figure]:
    """Annotations as lines across all panels."""
    shapes = []
    has_words = len(marks) <= _MOST_WORDS
    for mark in marks if has_words else [mark._replace(text="") for mark in marks]:
        words = mark.text if len(mark.text) <= _LONGEST_MARK else f"{mark.text[: _LONGEST_MARK - 1]}…"
        at = clock.at(mark.time_ms)
        label = {
            "text": escape(words),
            "textposition": "start",
            "textangle": 90,
            "xanchor": "left",
            "font": {"size": 10},
        }
        line = {"color": _GREY, "width": 1, "dash": "dot"}
        shapes.append(
            {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": at, "x1": at, "line": line, "label": label}
        )
    return shapes


def _titles(parts: Sequence[_Part]) -> list[Figure]:
    """Each panel's title with its channels in their colours, above it at the left."""
    words = []
    for number, part in enumerate(parts):
        channels = dict.fromkeys(line.channel for line in part.lines)
        names = " ".join(
            f'<span style="color:{color(position)}">●</span> {escape(channel)}'
            for position, channel in enumerate(channels)
        )
        words.append(
            {
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": _domain(number, len(parts))[1],
                "yref": "paper",
                "yanchor": "bottom",
                "text": f"<b>{escape(part.title)}</b>&nbsp; {names}",
                "showarrow": False,
                "font": {"size": 13},
                "name": "title",
            }
        )
    return words


def _domain(number: int, count: int) -> list[float]:
    """Where panel `number` from above stands, as shares of the drawing's height."""
    total = count * PANEL_HEIGHT + (count - 1) * _BETWEEN
    top = 1 - number * (PANEL_HEIGHT + _BETWEEN) / total
    return [max(0.0, top - PANEL_HEIGHT / total), top]


def _value_axes(count: int) -> Figure:
    return {
        "yaxis" if number == 0 else f"yaxis{number + 1}": {
            "domain": _domain(number, count),
            "fixedrange": True,
            "zeroline": False,
            "nticks": 6,
            "gridcolor": "rgba(134,142,150,0.22)",
        }
        for number in range(max(1, count))
    }


def _time_axis(view: tuple[float, float], clock: _Clock, panels: int) -> Any:
    zone = "" if clock.is_elapsed else f" ({clock.zone.words(view[1])})"
    day = "" if clock.is_elapsed else "%e %b %Y "
    axis: Figure = {
        "type": "date",
        "range": [clock.at(view[0]), clock.at(view[1])],
        "autorange": False,
        "zeroline": False,
        "gridcolor": "rgba(134,142,150,0.22)",
        "hoverformat": f"{day}%H:%M:%S.%L{zone}",
        "nticks": 7,
        "anchor": "y" if panels <= 1 else f"y{panels}",
    }
    if clock.is_elapsed:
        axis["tickformat"] = "%H:%M:%S"
    return axis
