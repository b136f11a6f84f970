"""The History page: choosers, one figure over any span of time, what is missing, statistics, export."""

from collections.abc import Mapping
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, no_update

from services.dashboard import metrics, sensors
from services.dashboard.figures_history import history_figure, session_name
from services.dashboard.gaps import Gap
from services.dashboard.history_answer import HistoryAnswer, parse_history_ask
from services.dashboard.live import Live
from services.dashboard.pages.page import Page, Services
from services.dashboard.traces import trace_link
from services.dashboard.words import count_of, in_figures, local_time, span_words
from services.dashboard.zones import Zone

_GRAPH_CONFIG: Any = {"displayModeBar": False, "responsive": True, "scrollZoom": False, "doubleClick": False}
_SPANS: Final = {"60000": "1 min", "600000": "10 min", "3600000": "1 h", "86400000": "1 day", "604800000": "1 week"}
_MOST_LISTED: Final = 100


def page(_services: Services) -> Any:
    """The page without data; its script asks for what the address names."""
    stores = [dcc.Store(id=name) for name in ("history-opened", "history-ask", "history-facts")]
    content = [
        html.H1("History", className="page-title"),
        _choosers(),
        _tools(),
        html.P("", id="history-notice", className="notice", role="status", hidden=True),
        dcc.Loading(_figure(), delay_show=400, type="dot"),
        html.Div(id="history-words", className="history-words"),
        _export_dialog(),
    ]
    return html.Div([*stores, *content], id="history", className="history")


def register(app: Dash, services: Services) -> None:
    """Connect the page with `history` and with its script: no callback has logic of its own."""

    @app.callback(
        Output("history-graph", "figure"),
        Output("history-graph", "style"),
        Output("history-words", "children"),
        Output("history-facts", "data"),
        Input("history-ask", "data"),
        prevent_initial_call=True,
    )
    def show(content: Any) -> tuple[Any, Any, Any, Any]:
        with metrics.time_callback("history"):
            answer = services.history.answer(parse_history_ask(content))
            known = facts(answer, services.live)
            if answer.state != "seen":
                return no_update, no_update, no_update, known
            figure = history_figure(answer, Zone(answer.ask.zone))
            return figure, {"height": figure["layout"]["height"]}, words(answer, services.settings.trace_url), known

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("history", "open"), Output("history-opened", "data"), Input("history", "id")
    )
    for function, component, value in (
        ("receive", "history-facts", "data"),
        ("chooseDevice", "history-device", "value"),
        ("chooseSessions", "history-sessions", "value"),
        ("chooseSensors", "history-sensors", "value"),
        ("align", "history-align", "checked"),
        ("zoom", "history-graph", "relayoutData"),
    ):
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("history", function), Input(component, value), prevent_initial_call=True
        )


def facts(answer: HistoryAnswer, live: Live) -> dict[str, Any]:
    """What the page's script needs to know of an answer."""
    devices = {} if answer.state == "away" else {row["device"]: row["name"] for row in live.choices()}
    return {
        "id": answer.ask.id,
        "state": answer.state,
        "reason": answer.reason,
        "now": answer.now,
        "device": answer.device,
        "devices": [{"value": device, "label": name} for device, name in devices.items()],
        "sessions": [
            {"value": row["session"], "label": _session_label(answer, row["session"])} for row in answer.sessions
        ],
        "shown": answer.shown,
        "sensors": [{"value": name, "label": sensors.title(name)} for name in answer.sensors],
        "chosen": answer.chosen,
        "view": answer.view,
        "whole": answer.whole,
        "step": answer.step,
        "aligned": answer.ask.aligned,
        "isEmpty": not answer.panels and not answer.states,
    }


def words(answer: HistoryAnswer, trace_url: str) -> Any:
    """What is seen, what is missing, and statistics."""
    zone = Zone(answer.ask.zone)
    return [_seen(answer, zone), *_missing(answer, zone, trace_url), *_statistics(answer), *_states(answer, zone)]


def _choosers() -> Any:
    selects = [
        dmc.Select(id="history-device", label="Phone", data=[], searchable=True, allowDeselect=False),
        dmc.MultiSelect(
            id="history-sessions",
            label="Recordings",
            placeholder="All of this phone",
            data=[],
            searchable=True,
            clearable=True,
        ),
        dmc.MultiSelect(id="history-sensors", label="Sensors", data=[], searchable=True),
    ]
    return html.Div(selects, className="choosers")


def _tools() -> Any:
    """Buttons for those who cannot or do not want to drag in the chart; the script finds them by `data-go`."""
    moves = [
        _go("back", "Earlier", "left"),
        _go("forward", "Later", "right"),
        _go("in", "Zoom in", "plus"),
        _go("out", "Zoom out", "minus"),
    ]
    spans = [html.Button(text, type="button", className="chip", **_data(span=ms)) for ms, text in _SPANS.items()]
    whole = html.Button("All", type="button", className="chip", **_data(span="all"))
    exact = html.Form(
        [_moment("from", "From"), _moment("until", "Until"), html.Button("Show", className="chip")],
        id="history-exact",
        className="exact",
    )
    align = dmc.Switch(id="history-align", label="Compare from their starts", checked=False)
    export = dmc.Button("Export", id="history-export", variant="default", **_haspopup())
    details = html.Details([html.Summary("Exact times", className="chip"), exact], className="exact-times")
    groups = [html.Div([*moves, *spans, whole], className="chips"), details]
    return html.Div([*groups, html.Div([align, export], className="chips")], className="tools")


def _go(name: str, label: str, icon: str) -> Any:
    attributes: Any = {"aria-label": label, "data-go": name, "title": label}
    return html.Button(html.Span(className=f"icon icon-{icon}"), type="button", className="chip", **attributes)


def _moment(name: str, label: str) -> Any:
    """The script puts the browser's own input for day and time into it: Dash has none."""
    return html.Label([html.Span(label), html.Span(**_data(moment=name))])


def _data(**names: str) -> Any:
    """Attributes `data-…`, by which the page's script finds the element."""
    return {f"data-{name}": value for name, value in names.items()}


def _data_label() -> Any:
    return {"aria-label": "Export"}


def _haspopup() -> Any:
    return {"aria-haspopup": "dialog"}


def _export_dialog() -> Any:
    """What can be taken away; the script asks for it and shows how far it is."""
    choices = [
        _order("seen", "csv", "What is shown, as CSV", "One table in the resolution of the chart."),
        _order("seen", "parquet", "What is shown, as Parquet", "The same, typed and smaller."),
        _order("session", "csv", "Whole recording, as the app exports it", "A zip of every reading: a CSV per sensor."),
        _order("session", "parquet", "Whole recording, as Parquet", "A zip of every reading: a Parquet per sensor."),
    ]
    named: Any = {"aria-label": "Progress"}
    bar = html.Progress(id="export-bar", max="100", value="0", **named)
    progress = html.Div([html.P("", id="export-words", role="status"), bar], id="export-progress", hidden=True)
    buttons = [
        dmc.Button("Cancel export", id="export-cancel", variant="default", style={"display": "none"}),
        dmc.Button("Close", id="export-close"),
    ]
    note = html.P("What is missing is named in the export.", className="soft")
    content = [html.H2("Export"), note, *choices, progress, html.Div(buttons, className="dialog-buttons")]
    return html.Dialog(html.Div(content), id="export", className="dialog", **_data_label())


def _order(what: str, form: str, title: str, explanation: str) -> Any:
    data = _data(what=what, format=form)
    words = [html.Span(title, className="order-title"), html.Span(explanation, className="soft")]
    return html.Button(words, type="button", className="order", **data)


def _figure() -> Any:
    graph = dcc.Graph(id="history-graph", figure={"data": [], "layout": {}}, config=_GRAPH_CONFIG, responsive=True)
    attributes: Any = {"aria-label": "Chart of the chosen sensors; the table below has its figures", "role": "img"}
    return html.Div(graph, className="card history-figure", **attributes)


def _session_label(answer: HistoryAnswer, session: str) -> str:
    row = next(row for row in answer.sessions if row["session"] == session)
    if row["first"] is None or row["last"] is None:
        return "no readings"
    length = "running" if row["is_running"] else span_words(row["last"] - row["first"])
    words = f"{session_name(answer, session)}, {length}"
    return f"{row['title']}: {words}" if row["title"] else words


def _seen(answer: HistoryAnswer, zone: Zone) -> Any:
    from_ms, until_ms = answer.view
    resolution = (
        "every reading"
        if answer.step == 0
        else f"windows of {span_words(answer.step * 1000)}, with minimum and maximum"
    )
    begin = "" if answer.ask.aligned else f"from {local_time(from_ms, zone)} "
    units = answer.sessions[0]["units"] if answer.sessions else ""
    return html.P(f"{span_words(until_ms - from_ms)} {begin}· {resolution}. {units}", className="soft seen")


def _missing(answer: HistoryAnswer, zone: Zone, trace_url: str) -> list[Any]:
    if not answer.gaps:
        return [html.P("No message is missing here.", className="complete")]
    total = sum(gap.missing for gap in answer.gaps)
    heading = html.Summary(f"{count_of(total, 'message')} missing here, in {count_of(len(answer.gaps), 'place')}")
    links = {gap: trace_link(trace_url, trace) for gap, trace in answer.traces.items()}
    names = ["Messages", "Numbers", "From", "Until", *(["Behind it"] if links else [])]
    rows = [_gap_row(gap, zone, answer.ask.aligned, links) for gap in answer.gaps[:_MOST_LISTED]]
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in names]))
    table = _scrolled(html.Table([head, html.Tbody(rows)]), "Missing messages")
    return [html.Details([heading, table], className="missing")]


def _gap_row(gap: Gap, zone: Zone, is_elapsed: bool, links: Mapping[Gap, str | None]) -> Any:
    times = [span_words(at) if is_elapsed else local_time(at, zone) for at in (gap.from_ms, gap.until_ms)]
    numbers = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
    link = links.get(gap)
    trace = [html.Td(html.A("Trace", href=link) if link else "")] if links else []
    return html.Tr([html.Td(gap.missing), html.Td(numbers), *(html.Td(at) for at in times), *trace])


def _statistics(answer: HistoryAnswer) -> list[Any]:
    if not answer.statistics:
        return []
    has_sessions = len({row.session for row in answer.statistics}) > 1
    names = [
        "Sensor",
        "Channel",
        *(["Recording"] if has_sessions else []),
        "Readings",
        "Mean",
        "Deviation",
        "Minimum",
        "Maximum",
        "Unit",
    ]
    rows = []
    for row in answer.statistics:
        session = [html.Td(session_name(answer, row.session))] if has_sessions else []
        figures = [in_figures(value) for value in (row.mean, row.deviation, row.min, row.max)]
        rows.append(
            html.Tr(
                [
                    html.Th(sensors.title(row.sensor), scope="row"),
                    html.Td(row.channel),
                    *session,
                    html.Td(f"{row.readings:,}", className="number"),
                    *(html.Td(figure, className="number") for figure in figures),
                    html.Td(sensors.unit(row.sensor, row.channel)),
                ]
            )
        )
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in names]))
    return [html.H2("Statistics of what is shown"), _scrolled(html.Table([head, html.Tbody(rows)]), "Statistics")]


def _states(answer: HistoryAnswer, zone: Zone) -> list[Any]:
    """The texts of the chosen sensors, where they change: the newest of them."""
    if not answer.states:
        return []
    rows = [
        html.Tr(
            [
                html.Th(sensors.title(state.sensor), scope="row"),
                html.Td(state.channel),
                html.Td(span_words(state.time_ms) if answer.ask.aligned else local_time(state.time_ms, zone)),
                html.Td(state.value, className="state-text"),
            ]
        )
        for state in answer.states[-_MOST_LISTED:]
    ]
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in ("Sensor", "Channel", "From", "State")]))
    return [html.H2("States"), _scrolled(html.Table([head, html.Tbody(rows)]), "States")]


def _scrolled(table: Any, label: str) -> Any:
    attributes: Any = {"aria-label": label, "role": "region"}
    return html.Div(table, className="scrolled", tabIndex=0, **attributes)


PAGE: Final = Page(name="history", path="/history", title="History", icon="history", layout=page, register=register)
