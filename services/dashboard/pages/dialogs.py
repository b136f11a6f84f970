"""Dialogs in which operators change something: one per page, opened by buttons that name an action and its subject.

Only operators may open one or do what it asks; whatever cannot be done is told in the dialog.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import dash_mantine_components as dmc
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update
from dash.dcc import Store

from services.dashboard import metrics
from services.dashboard.access import require_operator
from services.dashboard.access.viewer import Actor
from services.dashboard.database import DatabaseAwayError
from services.dashboard.phones import ChangeError

NOT_CHANGED = "The database cannot be reached: nothing has been changed. Try again in a moment."


class Dialog(NamedTuple):
    """What a dialog asks."""

    title: str
    content: Any


Fields = Mapping[str, Any]
"""The values of a dialog's fields, by name."""
Open = Callable[[str, str], Dialog]
"""From action and subject to the dialog. Raises `ChangeError`."""
Do = Callable[[str, str, Fields, Actor], str]
"""Does it, and returns the sentence that tells so. Raises `ChangeError`."""


def dialog(page: str, **more: Any) -> list[Any]:
    """The closed dialog of a page, the place for what has been done, and stores: changes counted, the last press."""
    return [
        html.P("", id=f"{page}-told", className="told", role="status"),
        Store(id=f"{page}-changed", data=0),
        Store(id=f"{page}-pressed"),
        dmc.Modal(id=f"{page}-dialog", centered=True, closeButtonProps={"aria-label": "Close"}, **more),
    ]


def opener(page: str, action: str, subject: str, text: str, **more: Any) -> Any:
    """A button that opens the dialog of an action."""
    return dmc.Button(text, id=_id(f"{page}-open", action, subject), **{"variant": "default", "size": "xs", **more})


def doer(page: str, action: str, subject: str, text: str, **more: Any) -> Any:
    """The button of a dialog that does what it asks."""
    return dmc.Button(text, id=_id(f"{page}-do", action, subject), **more)


def field(page: str, name: str) -> dict[str, str]:
    """The id of a field of the dialog."""
    return {"type": f"{page}-field", "field": name}


def trouble(page: str) -> Any:
    """The place in a dialog where it is told what cannot be done."""
    return html.P("", id={"type": f"{page}-trouble", "field": "trouble"}, className="trouble", role="alert")


def register(app: Dash, page: str, open_dialog: Open, do: Do, for_all: Set[str] = frozenset()) -> None:
    """Connect the buttons of a page with what they open and do; viewers may open the actions `for_all`."""
    _register_openers(app, page, open_dialog, for_all)
    _register_doers(app, page, do)


def _register_openers(app: Dash, page: str, open_dialog: Open, for_all: Set[str]) -> None:
    """A press is noted in the browser first: a list that is made anew, with its buttons, would take it along."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("shell", "pressed"),
        Output(f"{page}-pressed", "data"),
        Input({"type": f"{page}-open", "action": ALL, "subject": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(f"{page}-dialog", "opened"),
        Output(f"{page}-dialog", "title"),
        Output(f"{page}-dialog", "children"),
        Input(f"{page}-pressed", "data"),
        prevent_initial_call=True,
    )
    def opened(pressed: Any) -> Any:
        if not pressed:
            return no_update, no_update, no_update
        action, subject = pressed["action"], unquote(pressed["subject"])
        if action not in for_all:
            require_operator()
        with metrics.time_callback(f"{page}-open"):
            try:
                asked = open_dialog(action, subject)
            except ChangeError as error:
                asked = Dialog("That is not possible", html.P(str(error)))
            except DatabaseAwayError:
                asked = Dialog("That is not possible now", html.P("The database cannot be reached."))
            return True, asked.title, [html.Div(asked.content, className="dialog"), trouble(page)]


def _register_doers(app: Dash, page: str, do: Do) -> None:
    @app.callback(
        Output(f"{page}-dialog", "opened", allow_duplicate=True),
        Output(f"{page}-told", "children"),
        Output(f"{page}-changed", "data"),
        Output({"type": f"{page}-trouble", "field": ALL}, "children"),
        Input({"type": f"{page}-do", "action": ALL, "subject": ALL}, "n_clicks"),
        State({"type": f"{page}-field", "field": ALL}, "value"),
        State({"type": f"{page}-field", "field": ALL}, "id"),
        State(f"{page}-changed", "data"),
        prevent_initial_call=True,
    )
    def done(_clicks: Any, values: Any, ids: Any, changes: Any) -> Any:
        if not _was_pressed():
            return no_update, no_update, no_update, [no_update] * len(ctx.outputs_list[3])
        actor = require_operator()
        fields = {one["field"]: value for one, value in zip(ids, values, strict=True)}
        with metrics.time_callback(f"{page}-do"):
            try:
                told = do(*_pressed(), fields, actor)
            except (ChangeError, DatabaseAwayError) as error:
                text = str(error) if isinstance(error, ChangeError) else NOT_CHANGED
                return no_update, no_update, no_update, [text] * len(ctx.outputs_list[3])
            return False, told, int(changes or 0) + 1, [""] * len(ctx.outputs_list[3])


def _id(kind: str, action: str, subject: str) -> dict[str, str]:
    """Page and server write an id as JSON, and only of ASCII do both write the same: names are quoted as in a URL."""
    return {"type": kind, "action": action, "subject": quote(subject, safe="")}


def _pressed() -> tuple[str, str]:
    """Action and subject of the button that was pressed."""
    return ctx.triggered_id["action"], unquote(ctx.triggered_id["subject"])


def _was_pressed() -> bool:
    """Whether a button was pressed; buttons that have only just appeared call too."""
    return bool(ctx.triggered_id and ctx.triggered and ctx.triggered[0]["value"])
