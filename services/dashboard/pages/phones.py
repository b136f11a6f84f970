"""The Phones page: which phones there are, how they are, and what an operator may do to each."""

from typing import Any, Final
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, no_update

from services.dashboard import metrics
from services.dashboard.access import current
from services.dashboard.access.viewer import Actor
from services.dashboard.database import DatabaseAwayError
from services.dashboard.pages import dialogs
from services.dashboard.pages.dialogs import Dialog, Fields, doer, field, opener
from services.dashboard.pages.moments import ago
from services.dashboard.pages.page import AWAY, Page, Services
from services.dashboard.phones import MAX_NAME_LENGTH, ChangeError, in_words
from services.dashboard.queries.phones import PhoneRow, TokenRow

_PERIOD_MS: Final = 5000
_PLATFORMS: Final = {"ios": "iOS", "android": "Android"}
_UNITS: Final = {"yes": True, "no": False, "unknown": None}
_STATES: Final = {
    "active": ("green", "token valid"),
    "rotating": ("yellow", "two tokens valid"),
    "revoked": ("red", "token revoked"),
}


def page(_services: Services) -> Any:
    """The page without data; it asks for them again every few seconds while it is seen."""
    connect = (
        dcc.Link("Connect a phone", href="/phones/connect", className="button-link") if current().is_operator else None
    )
    return html.Div(
        [
            html.Div([dmc.Title("Phones", order=1, size="h2"), connect], className="heading"),
            *dialogs.dialog("phones"),
            html.P("", id="phones-notice", className="trouble", role="status"),
            html.Div([html.P("Loading …", className="soft")], id="phones-list"),
            dcc.Store(id="phones-ask"),
            dcc.Interval(id="phones-pulse", interval=_PERIOD_MS),
        ],
        id="phones",
        className="page",
    )


def register(app: Dash, services: Services) -> None:
    """Connect the list with what is known, and the buttons with what they do."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("shell", "whenSeen"), Output("phones-ask", "data"), Input("phones-pulse", "n_intervals")
    )

    @app.callback(
        Output("phones-list", "children"),
        Output("phones-notice", "children"),
        Input("phones-ask", "data"),
        Input("phones-changed", "data"),
    )
    def list_phones(_asked: Any, _changed: Any) -> Any:
        with metrics.time_callback("phones"):
            try:
                return _list(services.phone_queries.phones(), services.phone_queries.unbound_tokens()), ""
            except DatabaseAwayError:
                return no_update, AWAY

    dialogs.register(
        app,
        "phones",
        lambda action, subject: _dialog(services, action, subject),
        lambda action, subject, fields, actor: _do(services, action, subject, fields, actor),
    )


def _list(phones: list[PhoneRow], tokens: list[TokenRow]) -> list[Any]:
    may_change = current().is_operator
    parts: list[Any] = []
    if not phones and not tokens:
        parts.append(dmc.Paper(html.P("No phone has been connected yet."), withBorder=True, p="lg"))
    parts.append(html.Div([_phone(phone, may_change) for phone in phones], className="phones"))
    if tokens and may_change:
        parts.append(dmc.Title("Tokens without a phone of their own", order=2, size="h4", mt="lg", mb="xs"))
        parts.append(html.Ul([_token(token) for token in tokens], className="rows"))
    return parts


def phone_name(phone: PhoneRow) -> str:
    """What a phone is called for people."""
    return phone.name or f"Phone {phone.device[:8]}"


def platform_words(phone: PhoneRow) -> str:
    """What is known, or seems so, of the platform."""
    if phone.platform:
        return _PLATFORMS[phone.platform]
    if phone.seems_android is None:
        return "platform unknown"
    return "seems to be Android" if phone.seems_android else "seems to be iOS"


def units_words(phone: PhoneRow) -> str:
    """Whether its units and frames are the standardised ones: iOS and Android differ in signs without them."""
    return {True: "standardised", False: "not standardised", None: "unknown"}[phone.standardised]


def _phone(phone: PhoneRow, may_change: bool) -> Any:
    colour, state = _STATES[phone.token_state] if phone.token_state else ("gray", "shared token")
    facts = [
        ("Last heard", ago(phone.last_seen)),
        ("Platform", platform_words(phone)),
        ("Units and frames", units_words(phone)),
        ("Battery", _battery(phone)),
        ("Device id", html.Code(phone.device)),
    ]
    links = [dcc.Link("Sessions", href="/sessions?" + urlencode({"q": phone.device}))]
    if phone.session is not None:
        live = "/?" + urlencode({"device": phone.device, "session": phone.session})
        links.insert(0, dcc.Link("Live", href=live))
    return html.Article(
        [
            html.Header([html.H2(phone_name(phone)), html.Span(state, className=f"badge badge-{colour}")]),
            html.Dl([part for name, value in facts for part in (html.Dt(name), html.Dd(value))]),
            html.Footer([*links, *(_buttons(phone) if may_change else [])]),
        ],
        className="card registered",
        key=phone.device,
    )


def _battery(phone: PhoneRow) -> Any:
    if phone.battery is None:
        return "not told"
    return [f"{round(100 * min(1.0, max(0.0, phone.battery)))} %, ", ago(phone.battery_at)]


def _buttons(phone: PhoneRow) -> list[Any]:
    buttons = [opener("phones", "describe", phone.device, "Edit")]
    if phone.token and phone.token_state in ("active", "rotating"):
        buttons += _token_buttons(phone.token)
    buttons.append(opener("phones", "delete", phone.device, "Delete", className="danger"))
    return buttons


def _token_buttons(name: str) -> list[Any]:
    link = "/phones/connect?" + urlencode({"token": name})
    return [dcc.Link("New code", href=link, className="small-button"), opener("phones", "revoke", name, "Revoke")]


def _token(token: TokenRow) -> Any:
    colour, state = _STATES[token.state]
    used = ["used ", ago(token.last_seen)] if token.last_seen else ["not used yet, made ", ago(token.created_at)]
    words = [html.Strong(token.name), html.Span(["for several phones, " if token.shared else "", *used])]
    buttons = _token_buttons(token.name) if token.state in ("active", "rotating") else []
    badge = html.Span(state, className=f"badge badge-{colour}")
    return html.Li([html.Div(words), html.Div([badge, *buttons])], key=token.name)


def _dialog(services: Services, action: str, subject: str) -> Dialog:
    if action == "revoke":
        words = f"Whatever sends with the token {subject} is refused within seconds, for good. Its readings stay."
        return Dialog("Revoke the token?", [html.P(words), doer("phones", "revoke", subject, "Revoke", color="red")])
    phone = _find(services, subject)
    name = phone_name(phone)
    if action == "describe":
        return Dialog(f"Edit {name}", _describe_form(phone))
    if action == "delete":
        words = f"All sessions and readings of {name} are deleted everywhere. Its token stays valid."
        go_on = opener("phones", "delete-really", subject, "Delete all of it …", className="danger")
        return Dialog(f"Delete {name}?", [html.P(words), go_on])
    words = f"Really delete all that {name} has ever sent? Nobody can bring it back."
    return Dialog(
        f"Delete {name} for good?", [html.P(words), doer("phones", "delete", subject, "Delete for good", color="red")]
    )


def _describe_form(phone: PhoneRow) -> Any:
    units = {value: key for key, value in _UNITS.items()}[phone.standardised]
    choices = [
        {"value": "yes", "label": "Yes"},
        {"value": "no", "label": "No"},
        {"value": "unknown", "label": "Unknown"},
    ]
    platforms = [{"value": "unknown", "label": "Unknown"}]
    platforms += [{"value": value, "label": label} for value, label in _PLATFORMS.items()]
    return dmc.Stack(
        [
            dmc.TextInput(
                id=field("phones", "name"),
                label="Name",
                value=phone.name or "",
                attributes={"input": {"maxLength": MAX_NAME_LENGTH}},
            ),
            dmc.Select(
                id=field("phones", "platform"),
                label="Platform",
                data=platforms,
                value=phone.platform or "unknown",
                allowDeselect=False,
            ),
            dmc.Select(
                id=field("phones", "units"),
                label="Standardised units",
                description="The app’s “Standardise Units & Frames”. Without it iOS and Android differ in signs.",
                data=choices,
                value=units,
                allowDeselect=False,
            ),
            doer("phones", "describe", phone.device, "Save"),
        ]
    )


def _do(services: Services, action: str, subject: str, fields: Fields, actor: Actor) -> str:
    if action == "describe":
        platform = fields.get("platform")
        known = platform if platform in ("ios", "android") else None
        units = _UNITS.get(str(fields.get("units")))
        services.phones.describe(subject, str(fields.get("name") or ""), known, units, actor)
        return "Saved."
    if action == "revoke":
        services.phones.revoke(subject, actor)
        return f"The token {subject} is revoked: it is refused within seconds."
    deleted = services.phones.delete(subject, actor)
    if not deleted.sessions:
        raise ChangeError("There was nothing left to delete.")
    return f"Deleted: {in_words(deleted)}."


def _find(services: Services, device: str) -> PhoneRow:
    phone = next((phone for phone in services.phone_queries.phones() if phone.device == device), None)
    if phone is None:
        raise ChangeError("There is no such phone any more.")
    return phone


PAGE: Final = Page(name="phones", path="/phones", title="Phones", icon="phones", layout=page, register=register)
