"""The Sessions page: every recording with what is missing of it; search, sort, name, annotate, delete."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from services.dashboard import metrics, sensors
from services.dashboard.access import current
from services.dashboard.access.viewer import Actor
from services.dashboard.database import DatabaseAwayError
from services.dashboard.pages import dialogs
from services.dashboard.pages.dialogs import Dialog, Fields, doer, field, opener
from services.dashboard.pages.moments import ago, at, duration
from services.dashboard.pages.page import AWAY, Page, Services
from services.dashboard.phones import ChangeError, in_words
from services.dashboard.queries.sessions import NEWEST_MESSAGES, PAGE_SIZE, SessionSummary
from services.dashboard.regularity import Regularity
from services.dashboard.sessions import MAX_NAME_LENGTH

_PERIOD_MS: Final = 10_000
_LONGEST_SEARCH: Final = 200
_ORDERS: Final = {
    "newest": "Newest first",
    "heard": "Last heard",
    "start": "Start",
    "length": "Longest first",
    "messages": "Most messages",
    "phone": "Phone",
}
_COLUMNS: Final = (
    "Session",
    "Start",
    "Length",
    "Sensors",
    "Received",
    "Missing",
    "Late",
    "Duplicate",
    "Quarantined",
    "",
)
_MOST_SENSORS: Final = 4
_NONE: Final = "–"
Measured = Mapping[str, Regularity]
"""What a session's sensors do, by their names."""


def page(_services: Services) -> Any:
    """The page without data; it asks for them again while it is seen."""
    orders = [{"value": value, "label": label} for value, label in _ORDERS.items()]
    search = dmc.TextInput(
        id="sessions-search",
        label="Search",
        placeholder="Phone, name, notes or id",
        debounce=300,
        attributes={"input": {"maxLength": _LONGEST_SEARCH, "type": "search"}},
    )
    order = dmc.Select(id="sessions-order", label="Sort by", data=orders, value="newest", allowDeselect=False)
    return html.Div(
        [
            html.Div([dmc.Title("Sessions", order=1, size="h2")], className="heading"),
            html.Div([search, order], className="filters"),
            *dialogs.dialog("sessions", size="lg"),
            html.P("", id="sessions-count", className="soft", role="status"),
            html.Div([html.P("Loading …", className="soft")], id="sessions-list"),
            dmc.Pagination(id="sessions-number", total=1, value=1, siblings=1, hideWithOnePage=True, mt="md"),
            dcc.Store(id="sessions-opened"),
            dcc.Store(id="sessions-ask"),
            dcc.Interval(id="sessions-pulse", interval=_PERIOD_MS),
        ],
        id="sessions",
        className="page",
    )


def register(app: Dash, services: Services) -> None:
    """Connect the list with what is asked for, and the buttons with what they do."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("shell", "whenSeen"), Output("sessions-ask", "data"), Input("sessions-pulse", "n_intervals")
    )

    @app.callback(Output("sessions-search", "value"), Input("sessions-opened", "id"), State("url", "search"))
    def start(_opened: Any, search: Any) -> Any:
        return parse_qs(str(search or "").removeprefix("?")).get("q", [""])[0]

    @app.callback(
        Output("sessions-list", "children"),
        Output("sessions-count", "children"),
        Output("sessions-number", "total"),
        Input("sessions-search", "value"),
        Input("sessions-order", "value"),
        Input("sessions-number", "value"),
        Input("sessions-ask", "data"),
        Input("sessions-changed", "data"),
    )
    def list_sessions(search: Any, order: Any, number: Any, _asked: Any, _changed: Any) -> Any:
        with metrics.time_callback("sessions"):
            try:
                return _list(services, str(search or "")[:_LONGEST_SEARCH].strip(), str(order), int(number or 1))
            except DatabaseAwayError:
                return no_update, AWAY, no_update

    @app.callback(
        Output("sessions-number", "value"),
        Input("sessions-search", "value"),
        Input("sessions-order", "value"),
        prevent_initial_call=True,
    )
    def begin_anew(_search: Any, _order: Any) -> Any:
        return 1

    dialogs.register(
        app,
        "sessions",
        lambda action, subject: _dialog(services, action, int(subject)),
        lambda action, subject, fields, actor: _do(services, action, int(subject), fields, actor),
        for_all=frozenset(["details"]),
    )


def _list(services: Services, search: str, order: str, number: int) -> Any:
    total = services.session_queries.count(search)
    pages = max(1, -(-total // PAGE_SIZE))
    rows = services.session_queries.page(search, order, min(number, pages) - 1)
    words = f"{total:,} {'session' if total == 1 else 'sessions'}" + (f" with “{search}”" if search else "")
    if not rows:
        nothing = "Nothing fits the search." if search else "Nothing has been recorded yet."
        return dmc.Paper(html.P(nothing), withBorder=True, p="lg"), words, 1
    return _table(rows, services.regularities.of([row.session_id for row in rows])), words, pages


def _table(rows: Sequence[SessionSummary], regular: Mapping[int, Measured]) -> Any:
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in _COLUMNS]))
    body = html.Tbody([_row(row, regular[row.session_id]) for row in rows])
    return html.Div(html.Table([head, body], className="table"), className="scroll")


def _row(row: SessionSummary, regular: Measured) -> Any:
    cells: list[tuple[Any, str]] = [
        (_who(row), "wide"),
        (at(row.first_time), ""),
        (length(row), "number"),
        (_sensors(row, regular), "sensors"),
        (f"{row.received:,}", "number"),
        (_count(row.missing), "number"),
        (_count(row.late), "number"),
        (_count(row.duplicates), "number"),
        (_count(row.readings_quarantined), "number"),
        (_buttons(row), "actions"),
    ]
    return html.Tr(
        [
            html.Td(content, className=kind, **{"data-name": name})  # type: ignore[arg-type]
            for (content, kind), name in zip(cells, _COLUMNS, strict=True)
        ],
        key=str(row.session_id),
    )


def _who(row: SessionSummary) -> list[Any]:
    phone = row.device_name or f"Phone {row.device[:8]}"
    address = urlencode({"device": row.device, "session": row.session})
    name = html.Strong(row.name or phone)
    links = [dcc.Link("Live", href=f"/?{address}"), dcc.Link("History", href=f"/history?{address}")]
    below = [*([phone, ", "] if row.name else []), "heard ", ago(row.last_seen)]
    return [name, html.Div(below, className="soft"), html.Div(links, className="links")]


def _sensors(row: SessionSummary, regular: Measured) -> Any:
    """Those with a rate come first: the list has room for a few."""
    found = sorted(((sensor, regular.get(sensor)) for sensor in row.sensors), key=lambda pair: _hertz(pair[1]) == _NONE)
    lines = [(sensors.title(sensor), _hertz(measured), _jitter(measured)) for sensor, measured in found]
    shown = [
        html.Li([f"{name} ", html.Span(f"{hertz} {jitter and '± ' + jitter}".strip(), className="soft")])
        for name, hertz, jitter in lines[:_MOST_SENSORS]
    ]
    more = [html.Li(f"and {len(lines) - _MOST_SENSORS} more", className="soft")] if len(lines) > _MOST_SENSORS else []
    words = [f"{name} {hertz}" + (f", jitter {jitter}" if jitter else "") for name, hertz, jitter in lines]
    return html.Ul([*shown, *more], title="\n".join(words))


def _hertz(measured: Regularity | None) -> str:
    return f"{measured.hz:.3g} Hz" if measured and measured.hz else _NONE


def _jitter(measured: Regularity | None) -> str:
    return f"{measured.jitter_ms:.1f} ms" if measured and measured.jitter_ms is not None else ""


def _count(count: int) -> Any:
    return html.Span(f"{count:,}", className="bad" if count else "none")


def _buttons(row: SessionSummary) -> Any:
    buttons = [opener("sessions", "details", str(row.session_id), "Details")]
    if current().is_operator:
        buttons.append(opener("sessions", "describe", str(row.session_id), "Edit"))
        buttons.append(opener("sessions", "delete", str(row.session_id), "Delete", className="danger"))
    return html.Div(buttons, className="row-buttons")


def length(row: SessionSummary) -> str:
    """How long a session is, from its first to its last reading."""
    if row.first_time is None or row.last_time is None:
        return _NONE
    return duration((row.last_time - row.first_time).total_seconds())


def _dialog(services: Services, action: str, session_id: int) -> Dialog:
    row = _find(services, session_id)
    name = row.name or row.session
    subject = str(session_id)
    if action == "details":
        return Dialog(name, _details(services, row))
    if action == "describe":
        return Dialog(f"Edit {name}", _describe_form(row))
    if action == "delete":
        words = f"{row.received:,} messages with {row.readings:,} readings are deleted everywhere."
        go_on = opener("sessions", "delete-really", subject, "Delete all of it …", className="danger")
        return Dialog(f"Delete {name}?", [html.P(words), go_on])
    for_good = doer("sessions", "delete", subject, "Delete for good", color="red")
    return Dialog(f"Delete {name} for good?", [html.P("Really? Nobody can bring it back."), for_good])


def _details(services: Services, row: SessionSummary) -> Any:
    lines = []
    for sensor, measured in services.regularities.of([row.session_id])[row.session_id].items():
        cells = [sensors.title(sensor), _hertz(measured), _jitter(measured) or _NONE]
        lines.append(html.Tr([html.Td(cell, className="number" if place else "") for place, cell in enumerate(cells)]))
    names = {"Sensor": "", "Rate": "number", "Jitter": "number"}
    head = html.Thead(html.Tr([html.Th(name, scope="col", className=kind) for name, kind in names.items()]))
    facts = [
        ("Phone", [row.device_name or "", " ", html.Code(row.device)]),
        ("Session id", html.Code(row.session)),
        ("From", at(row.first_time)),
        ("To", at(row.last_time)),
        ("Readings", f"{row.readings:,} stored, {row.readings_quarantined:,} in quarantine"),
        ("Messages", f"{row.received:,} received, {row.duplicates:,} came again, {row.late:,} late"),
        ("Missing", _missing(row)),
        *([("Notes", html.Span(row.notes, className="notes"))] if row.notes else []),
    ]
    note = f"Jitter: standard deviation of the time between two readings, over the newest {NEWEST_MESSAGES} messages."
    return html.Div(
        [
            html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
            html.Table([head, html.Tbody(lines)], className="table plain"),
            html.P(note, className="soft"),
        ],
        className="registered details",
    )


def _missing(row: SessionSummary) -> str:
    if not row.missing:
        return "nothing"
    return f"{row.missing:,} messages: " + ", ".join(row.missing_ranges)


def _describe_form(row: SessionSummary) -> Any:
    return dmc.Stack(
        [
            dmc.TextInput(
                id=field("sessions", "name"),
                label="Name",
                value=row.name or "",
                attributes={"input": {"maxLength": MAX_NAME_LENGTH}},
            ),
            dmc.Textarea(
                id=field("sessions", "notes"),
                label="Notes",
                value=row.notes or "",
                autosize=True,
                minRows=3,
                maxRows=12,
            ),
            doer("sessions", "describe", str(row.session_id), "Save"),
        ]
    )


def _do(services: Services, action: str, session_id: int, fields: Fields, actor: Actor) -> str:
    if action == "describe":
        services.sessions.describe(session_id, str(fields.get("name") or ""), str(fields.get("notes") or ""), actor)
        return "Saved."
    deleted = services.sessions.delete(session_id, actor)
    if not deleted.sessions:
        raise ChangeError("There was nothing left to delete.")
    return f"Deleted: {in_words(deleted)}."


def _find(services: Services, session_id: int) -> SessionSummary:
    row = services.session_queries.one(session_id)
    if row is None:
        raise ChangeError("There is no such session any more.")
    return row


PAGE: Final = Page(name="sessions", path="/sessions", title="Sessions", icon="sessions", layout=page, register=register)
