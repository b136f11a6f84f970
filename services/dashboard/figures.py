"""Figures without data: the page's script fills them. Pure functions from names to Plotly figures as plain dicts."""

from collections.abc import Sequence
from typing import Any, Final

COLORS: Final = (
    "#e8590c",
    "#2f9e44",
    "#1c7ed6",
    "#ae3ec9",
    "#e0a800",
    "#0ca678",
    "#e64980",
    "#7048e8",
    "#82c91e",
    "#15aabf",
    "#a0705a",
    "#868e96",
)
_BAND_OPACITY: Final = 0.22
_NO_FRAME: Final = {"l": 8, "r": 8, "t": 6, "b": 6}
_BETWEEN_PANELS: Final = 0.09
Figure = dict[str, Any]


def color(position: int) -> str:
    """The color of the channel at `position`; repeats after twelve."""
    return COLORS[position % len(COLORS)]


def chart(groups: Sequence[Sequence[str]], hidden: Sequence[str] = ()) -> Figure:
    """One panel per group of channels, above one time axis.

    Each channel has two traces: the band between its minima and maxima, and the line of its values above it.
    """
    traces: list[Figure] = []
    for panel, channels in enumerate(groups):
        axis = "y" if panel == 0 else f"y{panel + 1}"
        for channel in channels:
            shade = color(len(traces) // 2)
            shared = {"yaxis": axis, "visible": channel not in hidden}
            traces += [{**_band(channel, shade), **shared}, {**_line(channel, shade), **shared}]
    return {"data": traces, "layout": _layout(xaxis=_time_axis(len(groups)), **_panels(len(groups)))}


def track() -> Figure:
    """A way seen from above on a grid in metres, east and north of its newest point; both axes have one scale."""
    east = _axis(ticksuffix=" m", nticks=6, zeroline=False)
    north = _axis(ticksuffix=" m", nticks=6, zeroline=False, scaleanchor="x", scaleratio=1)
    traces = [_way("scatter", x=[], y=[]), _accuracy("scatter", x=[], y=[]), _here("scatter", x=[], y=[])]
    return {"data": traces, "layout": _layout(xaxis=east, yaxis=north, hovermode="closest")}


def tile_map(tiles_url: str, attribution: str) -> Figure:
    """The same way on a map of tiles from `tiles_url`, which holds {z}, {x} and {y}."""
    source = {"type": "raster", "tiles": [tiles_url], "tileSize": 256, "attribution": attribution}
    style = {
        "version": 8,
        "sources": {"tiles": source},
        "layers": [{"id": "tiles", "type": "raster", "source": "tiles"}],
    }
    places: dict[str, list[float]] = {"lon": [], "lat": []}
    traces = [_way("scattermap", **places), _accuracy("scattermap", **places), _here("scattermap", **places)]
    return {"data": traces, "layout": _layout(map={"style": style, "zoom": 17}, hovermode="closest", margin=_NO_FRAME)}


def _panels(count: int) -> Figure:
    """The value axes from the top down."""
    height = (1 - _BETWEEN_PANELS * (count - 1)) / count
    axes = {}
    for panel in range(count):
        top = 1 - panel * (height + _BETWEEN_PANELS)
        name = "yaxis" if panel == 0 else f"yaxis{panel + 1}"
        axes[name] = _axis(nticks=max(3, 6 - count), domain=[max(0.0, top - height), top])
    return axes


def _band(channel: str, shade: str) -> Figure:
    return {
        "type": "scatter",
        "meta": {"channel": channel, "part": "band"},
        "x": [],
        "y": [],
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": faint(shade),
        "hoverinfo": "skip",
    }


def faint(shade: str) -> str:
    """The colour of the band around a line of that colour."""
    red, green, blue = (int(shade[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_BAND_OPACITY})"


def _line(channel: str, shade: str) -> Figure:
    return {
        "type": "scatter",
        "meta": {"channel": channel, "part": "line"},
        "name": channel,
        "x": [],
        "y": [],
        "mode": "lines",
        "line": {"width": 1.5, "color": shade},
        "marker": {"size": 4, "color": shade},
        "connectgaps": False,
        "hovertemplate": "%{y:.5~g}",
    }


def _way(kind: str, **places: list[float]) -> Figure:
    line = {"width": 3, "color": COLORS[2]}
    return {"type": kind, "meta": {"part": "way"}, "mode": "lines", "line": line, "hoverinfo": "text", **places}


def _accuracy(kind: str, **places: list[float]) -> Figure:
    """The disc in which the newest place most likely is."""
    fill = {"fill": "toself", "fillcolor": faint(COLORS[2]), "line": {"width": 0}, "hoverinfo": "skip"}
    return {"type": kind, "meta": {"part": "accuracy"}, "mode": "lines", **fill, **places}


def _here(kind: str, **places: list[float]) -> Figure:
    marker = {"size": 13, "color": COLORS[0]}
    return {"type": kind, "meta": {"part": "here"}, "mode": "markers", "marker": marker, "hoverinfo": "text", **places}


def _time_axis(panels: int) -> Figure:
    lowest = "y" if panels == 1 else f"y{panels}"
    return _axis(
        type="date", autorange=False, range=[0, 1], nticks=5, hoverformat="%H:%M:%S.%L", showspikes=False, anchor=lowest
    )


def _axis(**more: Any) -> Figure:
    return {"fixedrange": True, "zeroline": False, "automargin": False, "ticks": "", **more}


def _layout(**more: Any) -> Figure:
    return {
        "autosize": True,
        "margin": {"l": 52, "r": 10, "t": 8, "b": 26},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "x unified",
        "dragmode": False,
        "font": {"family": "inherit", "size": 11},
        "uirevision": "live",
        **more,
    }
