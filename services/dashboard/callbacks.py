"""What happens on the page: each callback hands over to `live` or to the page's script."""

from typing import Any

import msgspec
from dash import ClientsideFunction, Dash, Input, Output, no_update

from services.dashboard import metrics
from services.dashboard.database import DatabaseAwayError
from services.dashboard.live import Live
from services.dashboard.news import parse_ask
from services.dashboard.pages.live import sensor_card
from services.dashboard.settings import DashboardSettings


def register(app: Dash, live: Live, settings: DashboardSettings) -> None:
    """Connect the pages of `app` with `live`."""
    _register_news(app, live, settings)
    _register_choices(app, live)
    for function, inputs in {
        "open": [Input("url", "search")],
        "receive": [Input("news", "data")],
        "receiveChoices": [Input("choices", "data")],
        "chooseDevice": [Input("device", "value")],
        "chooseSession": [Input("session", "value")],
        "chooseRange": [Input("range", "value")],
    }.items():
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("live", function), *inputs, prevent_initial_call=function != "open"
        )


def _register_news(app: Dash, live: Live, settings: DashboardSettings) -> None:
    @app.callback(Output("news", "data"), Output("cards", "children"), Input("ask", "data"), prevent_initial_call=True)
    def news(content: Any) -> tuple[Any, Any]:
        with metrics.time_callback("news"):
            answer = live.answer(parse_ask(content))
            cards = no_update if answer.cards is None else [sensor_card(card, settings) for card in answer.cards]
            return msgspec.to_builtins(answer.news, str_keys=True), cards


def _register_choices(app: Dash, live: Live) -> None:
    @app.callback(Output("choices", "data"), Input("ask-choices", "data"), prevent_initial_call=True)
    def choices(_count: Any) -> Any:
        with metrics.time_callback("choices"):
            try:
                return live.choices()
            except DatabaseAwayError:
                return no_update
