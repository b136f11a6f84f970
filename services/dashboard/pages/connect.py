"""Connect a phone: make its token and show all it needs in one code; a light tells when the phone has reached us."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from services.dashboard import enrolment, metrics
from services.dashboard.access import current, require_operator
from services.dashboard.access.viewer import Actor
from services.dashboard.database import DatabaseAwayError
from services.dashboard.enrolment import DEFAULT_PERIOD_MS, PERIODS_MS, SENSORS, Enrolment
from services.dashboard.pages.dialogs import NOT_CHANGED
from services.dashboard.pages.page import AWAY, Page, Services
from services.dashboard.phones import MAX_NAME_LENGTH, OVERLAP_S, ChangeError

_LIGHT_MS: Final = 1000
_LIGHT_ROUNDS: Final = 3600


def page(_services: Services) -> Any:
    """The form, and the place for what it makes."""
    heading = html.Div(
        [dmc.Title("Connect a phone", order=1, size="h2"), dcc.Link("All phones", href="/phones")], className="heading"
    )
    if not current().is_operator:
        words = "Only operators can connect phones. Ask one of them for a code to scan."
        return html.Div([heading, dmc.Paper(words, withBorder=True, p="lg")], id="connect", className="narrow")
    return html.Div(
        [
            heading,
            html.Div(_form(), id="connect-form"),
            html.P("", id="connect-trouble", className="trouble", role="alert"),
            html.Div([], id="connect-result"),
            dcc.Store(id="connect-token"),
            dcc.Store(id="connect-opened"),
            dcc.Interval(id="connect-pulse", interval=_LIGHT_MS, max_intervals=_LIGHT_ROUNDS, disabled=True),
        ],
        id="connect",
        className="narrow",
    )


def register(app: Dash, services: Services) -> None:
    """Connect the form with the token it makes, and the light with what has arrived."""
    _register_start(app)
    _register_form(app, services)
    _register_light(app, services)


def _register_start(app: Dash) -> None:
    @app.callback(
        Output("connect-name", "value"), Output("connect-name", "disabled"), Output("connect-shared", "disabled"),
        Output("connect-make", "children"), Input("connect-opened", "id"), State("url", "search"),
    )  # fmt: skip
    def start(_opened: Any, search: Any) -> Any:
        if name := _rotated(search):
            return name, True, True, "Make a new code"
        return no_update, no_update, no_update, no_update


def _register_form(app: Dash, services: Services) -> None:
    @app.callback(
        output=[
            Output("connect-result", "children"),
            Output("connect-trouble", "children"),
            Output("connect-token", "data"),
            Output("connect-pulse", "disabled"),
            Output("connect-form", "hidden"),
        ],
        inputs={"clicks": Input("connect-make", "n_clicks")},
        state={
            "form": {
                "name": State("connect-name", "value"),
                "period": State("connect-period", "value"),
                "sensors": State("connect-sensors", "value"),
                "shared": State("connect-shared", "checked"),
                "search": State("url", "search"),
            }
        },
        prevent_initial_call=True,
    )
    def make(clicks: Any, form: Any) -> Any:
        if not clicks:
            return [no_update] * 5
        actor = require_operator()
        with metrics.time_callback("connect"):
            try:
                return _make(services, form, actor)
            except (ChangeError, DatabaseAwayError) as error:
                return [], str(error) if isinstance(error, ChangeError) else NOT_CHANGED, None, True, False


def _make(services: Services, form: Any, actor: Actor) -> Any:
    rotated = _rotated(form["search"])
    name = rotated or str(form["name"] or "").strip()
    if rotated:
        token = services.phones.rotate(rotated, actor)
    else:
        token = services.phones.connect(name, bool(form["shared"]), actor)
    told = enrolment.enrolment(services.settings.ingest_url, token, int(form["period"]), form["sensors"] or [])
    return _result(told, name, bool(rotated), services.settings.ingest_url), "", name, bool(rotated), True


def _register_light(app: Dash, services: Services) -> None:
    @app.callback(
        Output("connect-light", "children"), Output("connect-light", "className"),
        Input("connect-pulse", "n_intervals"), State("connect-token", "data"), prevent_initial_call=True,
    )  # fmt: skip
    def light(_round: Any, name: Any) -> Any:
        require_operator()
        with metrics.time_callback("connect-light"):
            try:
                return _light(services, str(name))
            except DatabaseAwayError:
                return AWAY, "light light-red"


def _light(services: Services, name: str) -> Any:
    arrival = services.phone_queries.arrival(name)
    if arrival is None or (arrival.last_seen is None and arrival.device is None):
        return "Waiting for the phone: scan the code, then tap “Tap to Test Pushing” in the app.", "light"
    if arrival.session is None:
        when = datetime.now(UTC) - arrival.last_seen if arrival.last_seen else None
        moment = "" if when is None else f" {max(0, round(when.total_seconds()))} s ago"
        return f"The phone has reached us{moment}. Start a recording in the app.", "light light-green"
    services.phones.name_after_token(name)
    address = "/?" + urlencode({"device": arrival.device, "session": arrival.session})
    return ["The phone sends readings. ", dcc.Link("See them live", href=address)], "light light-green"


def _rotated(search: Any) -> str:
    """The name of the token for which the address asks for a new one; empty for a new phone."""
    return parse_qs(str(search or "").removeprefix("?")).get("token", [""])[0]


def _form() -> Any:
    usual = [sensor.name for sensor in SENSORS if sensor.is_usual]
    chips = [dmc.Chip(sensor.text, value=sensor.name, size="sm") for sensor in SENSORS]
    periods = [{"value": str(ms), "label": text} for ms, text in PERIODS_MS.items()]
    fields = [
        dmc.TextInput(
            id="connect-name",
            label="Name",
            description="Whose phone it is, or what it is for.",
            placeholder="Anna’s phone",
            attributes={"input": {"maxLength": MAX_NAME_LENGTH}},
            required=True,
        ),
        html.Div(
            [
                html.Span("Sensors", className="label", id="connect-sensors-label"),
                html.Div(
                    dmc.ChipGroup(id="connect-sensors", children=chips, multiple=True, value=usual),
                    className="chip-row",
                ),
            ],
            className="chips",
            role="group",
            **{"aria-labelledby": "connect-sensors-label"},  # type: ignore[arg-type]
        ),
        dmc.Select(
            id="connect-period",
            label="A message every",
            description="Short is more lively, long spares the battery.",
            data=periods,
            value=str(DEFAULT_PERIOD_MS),
            allowDeselect=False,
            w=220,
        ),
        dmc.Switch(
            id="connect-shared",
            label="Several phones may use this code",
            description="Otherwise the first phone that uses it owns it.",
        ),
        dmc.Button("Make the code", id="connect-make"),
    ]
    return dmc.Paper(dmc.Stack(fields, align="stretch"), withBorder=True, p="lg", className="form")


def _result(told: Enrolment, name: str, is_rotation: bool, ingest_url: str) -> list[Any]:
    link = enrolment.link(told)
    parts: list[Any] = []
    if enrolment.reaches_only_this_machine(ingest_url):
        parts.append(_warning("No phone can reach this address.", _LOOPBACK))
    parts.append(_warning("The scan replaces the app’s settings.", _REPLACES))
    code = html.Img(src=enrolment.qr_code(link), alt=f"QR code that configures {name}", id="connect-code")
    open_here = html.A("Open in Sensor Logger on this phone", href=link, id="connect-link", className="button-link")
    parts.append(dmc.Paper([_steps(), code, open_here], withBorder=True, p="lg", className="code"))
    parts.append(
        _rotation_note(name) if is_rotation else html.Div("", id="connect-light", className="light", role="status")
    )
    parts.append(_by_hand(told))
    return parts


_LOOPBACK: Final = (
    "It leads back to the machine itself. Let ingest listen in your network (INGEST_HOST=0.0.0.0) and set INGEST_URL "
    "to the address by which phones find it, then make a new code."
)
_REPLACES: Final = (
    "Sensor Logger asks before it takes over the new ones: sensors, streaming and all other settings that the phone "
    "has now are overwritten. To keep them, type the values below by hand."
)


def _warning(title: str, text: str) -> Any:
    return dmc.Alert(text, title=title, color="yellow", variant="light", className="warning")


def _steps() -> Any:
    return dmc.List(
        [
            dmc.ListItem("Install Sensor Logger (iOS or Android)."),
            dmc.ListItem("Scan the code with the phone’s camera, and let the app import it."),
            dmc.ListItem("In the app open Settings, Data Streaming, and tap “Tap to Test Pushing”."),
            dmc.ListItem("Start a recording."),
        ],
        type="ordered",
        spacing="xs",
    )


def _rotation_note(name: str) -> Any:
    hours = OVERLAP_S // 3600
    text = f"The code that {name} used until now stays valid for {hours} h: scan the new one before it ends."
    return html.Div(text, className="light", role="status")


def _by_hand(told: Enrolment) -> Any:
    rows = [
        ("Push URL", told.url),
        ("Authorization header", told.authorization),
        ("Batch period", f"{told.period_ms} ms"),
    ]
    values = [
        html.Div(
            [html.Span(name, className="label"), dmc.CodeHighlight(code=value, language="text")], className="by-hand"
        )
        for name, value in rows
    ]
    words = "Settings, Data Streaming, HTTP Push. The token is shown only now: it is not kept here in readable form."
    return dmc.Paper(
        [dmc.Title("The same by hand", order=2, size="h4"), html.P(words, className="soft"), *values],
        withBorder=True,
        p="lg",
    )


PAGE: Final = Page(name="connect", path="/phones/connect", title="Connect a phone", layout=page, register=register)
