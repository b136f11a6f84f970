"""The Account page: who is signed in and where, a new password, the way out; for operators what people did."""

from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update
from flask import request

from services.dashboard import metrics
from services.dashboard.access import current
from services.dashboard.access.accounts import AuditRow, SignInRow
from services.dashboard.access.guard import cookie_name
from services.dashboard.access.passwords import SHORTEST
from services.dashboard.access.sign_ins import RefusedError, digest
from services.dashboard.access.viewer import Actor, client_address
from services.dashboard.database import DatabaseAwayError
from services.dashboard.pages.dialogs import NOT_CHANGED
from services.dashboard.pages.moments import ago, at
from services.dashboard.pages.page import Page, Services

_AUDIT_ENTRIES: Final = 200


def page(services: Services) -> Any:
    """The page; what stands in the database is put into it when it is opened."""
    viewer = current()
    sign_out = html.Form(
        html.Button("Sign out", type="submit", className="small-button"), action="/sign-out", method="POST"
    )
    heading = html.Div([dmc.Title(viewer.name, order=1, size="h2"), sign_out], className="heading")
    role = {"viewer": "You may look at everything.", "operator": "You may look at everything and change it."}
    parts = [heading, html.P(role[viewer.role], className="soft"), _password_form()]
    try:
        parts.append(_sign_ins(services.accounts.sign_ins(viewer.user_id, digest(_secret(services)))))
        if viewer.is_operator:
            parts.append(_audit(services.accounts.audit(_AUDIT_ENTRIES)))
    except DatabaseAwayError:
        parts.append(html.P("The database cannot be reached. Open this page again in a moment.", className="trouble"))
    return html.Div([*parts, dcc.Store(id="account-done")], id="account", className="page")


def register(app: Dash, services: Services) -> None:
    """Connect the form with the new password."""

    @app.callback(
        Output("account-told", "children"),
        Output("account-trouble", "children"),
        Output("account-old", "value"),
        Output("account-new", "value"),
        Input("account-change", "n_clicks"),
        State("account-old", "value"),
        State("account-new", "value"),
        prevent_initial_call=True,
    )
    def change(clicks: Any, old: Any, new: Any) -> Any:
        if not clicks:
            return no_update, no_update, no_update, no_update
        viewer = current()
        actor = Actor(viewer.name, client_address())
        with metrics.time_callback("password"):
            try:
                services.sign_ins.change_password(_secret(services), viewer, actor, str(old or ""), str(new or ""))
            except RefusedError as error:
                return "", str(error), no_update, no_update
            except DatabaseAwayError:
                return "", NOT_CHANGED, no_update, no_update
        return "The password is changed. You are signed out everywhere else.", "", "", ""


def _secret(services: Services) -> str:
    return request.cookies.get(cookie_name(services.settings), "")


def _password_form() -> Any:
    fields = [
        dmc.PasswordInput(id="account-old", label="Password now", attributes=_autocomplete("current-password")),
        dmc.PasswordInput(
            id="account-new",
            label="New password",
            description=f"At least {SHORTEST} characters.",
            attributes=_autocomplete("new-password"),
        ),
        dmc.Button("Change the password", id="account-change"),
    ]
    told = html.P("", id="account-told", className="told", role="status")
    trouble = html.P("", id="account-trouble", className="trouble", role="alert")
    title = dmc.Title("Password", order=2, size="h4", mb="sm")
    return dmc.Paper([title, told, dmc.Stack(fields, maw=380), trouble], withBorder=True, p="lg", mb="md")


def _autocomplete(kind: str) -> Any:
    return {"input": {"autoComplete": kind}}


def _sign_ins(rows: list[SignInRow]) -> Any:
    lines = [html.Li(_sign_in(row)) for row in rows]
    return html.Section([dmc.Title("Signed in", order=2, size="h4", mb="xs"), html.Ul(lines, className="rows")])


def _sign_in(row: SignInRow) -> list[Any]:
    where = "This browser" if row.is_this else agent_words(row.agent)
    used = html.Span(["used ", ago(row.last_used), ", since ", at(row.created_at)])
    return [html.Div([html.Strong(where), html.Span(row.address)]), html.Div(used)]


def agent_words(agent: str) -> str:
    """Browser and system in a few words, from what the browser says of itself."""
    browsers = {"Firefox/": "Firefox", "Edg/": "Edge", "Chrome/": "Chrome", "Safari/": "Safari", "curl/": "curl"}
    systems = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Mac OS": "macOS"}
    systems |= {"Linux": "Linux"}
    browser = next((name for sign, name in browsers.items() if sign in agent), "Another browser")
    system = next((name for sign, name in systems.items() if sign in agent), "")
    return f"{browser} on {system}" if system else browser


def _audit(rows: list[AuditRow]) -> Any:
    names = ("When", "Who", "From", "What", "Of what", "More")
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in names]))
    lines = []
    for row in rows:
        cells = (at(row.at), row.actor, row.address, row.action, row.subject, row.detail)
        lines.append(
            html.Tr(
                [
                    html.Td(cell, **{"data-name": name})  # type: ignore[arg-type]
                    for cell, name in zip(cells, names, strict=True)
                ]
            )
        )
    title = dmc.Title("Audit log", order=2, size="h4", mt="lg", mb="xs")
    table = html.Table([head, html.Tbody(lines)], className="table")
    return html.Section([title, html.Div(table, className="scroll")])


PAGE: Final = Page(name="account", path="/account", title="Account", icon="account", layout=page, register=register)
