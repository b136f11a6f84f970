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
Figure = dict[str, Any]


def color(position: int) -> str:
    """The color of the channel at `position`; repeats after twelve."""
    return COLORS[position % len(COLORS)]


def chart(channels: Sequence[str], hidden: Sequence[str] = ()) -> Figure:
    """Two traces per channel: the band between its minima and maxima, and the line of its values above it."""
    traces = []
    for position, channel in enumerate(channels):
        visible = channel not in hidden
        traces += [_band(channel, color(position), visible), _line(channel, color(position), visible)]
    return {"data": traces, "layout": _layout(xaxis=_time_axis(), yaxis=_axis(nticks=5))}


def track() -> Figure:
    """A way seen from above on a grid in metres, east and north of its newest point; both axes have one scale."""
    east = _axis(ticksuffix=" m", nticks=6, zeroline=False)
    north = _axis(ticksuffix=" m", nticks=6, zeroline=False, scaleanchor="x", scaleratio=1)
    traces = [_way("scatter", x=[], y=[]), _here("scatter", x=[], y=[])]
    return {"data": traces, "layout": _layout(xaxis=east, yaxis=north, height=300, hovermode="closest")}


def tile_map(tiles_url: str, attribution: str) -> Figure:
    """The same way on a map of tiles from `tiles_url`, which holds {z}, {x} and {y}."""
    source = {"type": "raster", "tiles": [tiles_url], "tileSize": 256, "attribution": attribution}
    style = {"version": 8, "sources": {"tiles": source}, "layers": [{"id": "tiles", "type": "raster", "source": "tiles"}]}
    traces = [_way("scattermap", lon=[], lat=[]), _here("scattermap", lon=[], lat=[])]
    return {"data": traces, "layout": _layout(map={"style": style, "zoom": 15}, height=300, hovermode="closest")}


def _band(channel: str, shade: str, visible: bool) -> Figure:
    red, green, blue = (int(shade[start : start + 2], 16) for start in (1, 3, 5))
    return {
        "type": "scatter",
        "meta": {"channel": channel, "part": "band"},
        "x": [],
        "y": [],
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},{_BAND_OPACITY})",
        "hoverinfo": "skip",
        "visible": visible,
    }


def _line(channel: str, shade: str, visible: bool) -> Figure:
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
        "visible": visible,
    }


def _way(kind: str, **places: list[float]) -> Figure:
    line = {"width": 3, "color": COLORS[2]}
    return {"type": kind, "meta": {"part": "way"}, "mode": "lines", "line": line, "hoverinfo": "text", **places}


def _here(kind: str, **places: list[float]) -> Figure:
    marker = {"size": 13, "color": COLORS[0]}
    return {"type": kind, "meta": {"part": "here"}, "mode": "markers", "marker": marker, "hoverinfo": "text", **places}


def _time_axis() -> Figure:
    return _axis(type="date", nticks=5, hoverformat="%H:%M:%S.%L", showspikes=False)


def _axis(**more: Any) -> Figure:
    return {"fixedrange": True, "zeroline": False, "automargin": False, "ticks": "", **more}


def _layout(**more: Any) -> Figure:
    return {
        "height": 190,
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
