"""The Live page: choosers, words for every state, and a card for each sensor."""

from typing import Any, Final

import dash_mantine_components as dmc
import msgspec
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, no_update

from services.dashboard import figures, metrics, sensors
from services.dashboard.database import DatabaseAwayError
from services.dashboard.live import Live
from services.dashboard.news import Card, parse_ask
from services.dashboard.pages.page import Page, Services
from services.dashboard.ranges import DEFAULT_RANGE, RANGES
from services.dashboard.settings import DashboardSettings

_GRAPH_CONFIG: Any = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
_MAP_CONFIG: Any = {**_GRAPH_CONFIG, "scrollZoom": True}


def page(services: Services) -> Any:
    """The page without data; the script in `assets` asks for it and shows the parts that fit its state."""
    stores = [dcc.Store(id=name) for name in ("opened", "ask", "news", "ask-choices", "choices")]
    cards = html.Div(id="cards", className="cards")
    units = html.P("", id="units", className="soft units")
    content = [_toolbar(), units, _notice(), _empty(services.settings.ingest_url), _unknown(), cards, _picker()]
    return html.Div([*stores, *content], id="live", className="live")


def register(app: Dash, services: Services) -> None:
    """Connect the page with `live` and with its script: no callback has logic of its own."""
    _register_news(app, services.live, services.settings)
    _register_choices(app, services.live)
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("live", "open"), Output("opened", "data"), Input("live", "id")
    )
    for function, inputs in {
        "receive": [Input("news", "data")],
        "receiveChoices": [Input("choices", "data")],
        "chooseDevice": [Input("device", "value")],
        "chooseSession": [Input("session", "value")],
        "chooseRange": [Input("range", "value")],
    }.items():
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("live", function), *inputs, prevent_initial_call=True
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


def sensor_card(card: Card, settings: DashboardSettings) -> Any:
    """The card of one sensor, known or not: title, unit, rate, current values, chart or track, texts."""
    is_event = sensors.is_event(card.sensor)
    parts = [_heading(card)]
    if card.numbers or not is_event:
        parts.append(_values(card))
    if _turns(card):
        parts.append(html.Div(className="body", hidden=True, **_data(part="body"), **_drawn("How the phone is held")))
    if card.numbers and not is_event:
        parts += [_graph(card, settings), html.P("", className="note", **_data(part="note"))]
    if card.texts:
        parts += [_events()] if is_event else _states(card)
    return html.Article(
        parts,
        className="card",
        style={"order": sensors.place(card.sensor)},
        **_data(sensor=card.sensor, title=sensors.title(card.sensor), place=str(sensors.place(card.sensor))),
    )


def _events() -> Any:
    return html.Ol([], className="texts", tabIndex=0, **_data(part="texts"), **_named("Newest first"))


def _states(card: Card) -> list[Any]:
    """Lanes of states over time, and the place of a picture if a text is one."""
    channels = "\n".join(card.texts)
    return [
        html.Div(className="picture", hidden=True, **_data(part="picture")),
        html.Div(className="lanes", **_data(part="lanes", channels=channels)),
    ]


def _turns(card: Card) -> bool:
    """True when the sensor tells how something is held: as a quaternion, or in angles."""
    channels = set(card.numbers)
    return {"qw", "qx", "qy", "qz"} <= channels or {"yaw", "pitch", "roll"} <= channels


def _toolbar() -> Any:
    return html.Div(
        [
            dmc.Select(
                id="device",
                label="Phone",
                data=[],
                searchable=True,
                allowDeselect=False,
                nothingFoundMessage="No such phone",
            ),
            dmc.Select(id="session", label="Recording", data=[], allowDeselect=False, maxDropdownHeight=360),
            html.Div(
                [
                    html.Span("Shown", className="label", id="range-label"),
                    dmc.SegmentedControl(
                        id="range",
                        value=DEFAULT_RANGE,
                        data=[{"value": name, "label": chosen.text} for name, chosen in RANGES.items()],
                        fullWidth=True,
                        **{"aria-label": "How much time the charts show"},
                    ),
                ],
                className="range",
            ),
            dmc.Button("Cards", id="pick-cards", variant="default", className="pick", **_haspopup()),
        ],
        className="toolbar",
    )


def _haspopup() -> Any:
    return {"aria-haspopup": "dialog"}


def _picker() -> Any:
    """The dialog in which cards are picked and ordered; the script fills the list."""
    buttons = [
        dmc.Button("All, in their usual order", id="picker-all", variant="default"),
        dmc.Button("Done", id="picker-close"),
    ]
    content = [
        html.H2("Cards"),
        html.P(
            "Which sensors to show, and in which order. The address of the page keeps the choice.", className="soft"
        ),
        html.Ul([], id="picker-list"),
        html.Div(buttons, className="dialog-buttons"),
    ]
    return html.Dialog(html.Div(content), id="picker", className="dialog", **_named("Cards"))


def _notice() -> Any:
    """One line above the cards: why they stand still. Words and button come from the script."""
    words = html.Span("", id="notice-text")
    button = html.Button("", id="notice-button", className="link", hidden=True)
    return html.Div([words, button], id="notice", className="notice", role="status", hidden=True)


def _empty(ingest_url: str) -> Any:
    steps = [
        dmc.ListItem(["Install ", dmc.Text("Sensor Logger", span=True, fw=600), " on a phone (iOS or Android)."]),
        dmc.ListItem("In its settings open “Data Streaming”, switch on “HTTP Push” and enter this push URL:"),
        dmc.ListItem("Enter this phone's token in the field for the Authorization header."),
        dmc.ListItem("Tap “Tap to Test Pushing”: the app says that it worked."),
        dmc.ListItem("Start a recording. It appears here by itself within seconds."),
    ]
    url = dmc.CodeHighlight(code=ingest_url, language="text", copyLabel="Copy", copiedLabel="Copied")
    return dmc.Paper(
        [
            dmc.Title("No phone has sent anything yet", order=2, size="h3"),
            dmc.Text("Here is how to connect one:", className="soft"),
            dmc.List([*steps[:2], html.Div(url, className="push-url"), *steps[2:]], type="ordered", spacing="xs"),
        ],
        id="empty",
        withBorder=True,
        p="xl",
        className="state",
    )


def _unknown() -> Any:
    return dmc.Paper(
        [
            dmc.Title("This recording is not here", order=2, size="h3"),
            dmc.Text(
                "The link names a phone or a recording that nobody has sent, or that has been deleted.",
                className="soft",
            ),
            html.A("Show the newest recording", href="/"),
        ],
        id="unknown",
        withBorder=True,
        p="xl",
        className="state",
    )


def _heading(card: Card) -> Any:
    unit = sensors.shared_unit(card.sensor, card.numbers)
    return html.Header(
        [
            html.H2([sensors.title(card.sensor), *([html.Span(unit, className="unit")] if unit else [])]),
            html.Span("", className="rate", **_data(part="rate")),
        ]
    )


def _values(card: Card) -> Any:
    channels = [channel for group in _groups(card) for channel in group] if _has_lines(card) else card.numbers
    numbers = [_value(card, channel, place) for place, channel in enumerate(channels)]
    texts = [] if sensors.is_event(card.sensor) else [_state(channel) for channel in card.texts]
    return html.Div([*numbers, *texts], className="values")


def _value(card: Card, channel: str, position: int) -> Any:
    """A channel's newest value; where it has a line, pressing it hides and shows the line."""
    unit = "" if sensors.shared_unit(card.sensor, card.numbers) else sensors.unit(card.sensor, channel)
    words = [
        html.Span(channel, className="channel"),
        html.Span("–", className="figure", **_data(part="value")),
        *([html.Span(unit, className="unit")] if unit else []),
    ]
    if not _has_lines(card):
        return html.Div(words, className="value", **_data(channel=channel))
    dot = html.Span(className="dot", style={"background": figures.color(position)})
    pressed: Any = {"aria-pressed": "false" if channel in _hidden(card) else "true"}
    return html.Button([dot, *words], type="button", className="value", **_data(channel=channel), **pressed)


def _state(channel: str) -> Any:
    """A channel's newest text."""
    name = html.Span(channel, className="channel")
    text = html.Span("–", className="figure", **_data(part="value"))
    return html.Div([name, text], className="value", **_data(**{"text-channel": channel}))


def _has_lines(card: Card) -> bool:
    return not _is_place(card) and not sensors.is_event(card.sensor)


def _is_place(card: Card) -> bool:
    return {"latitude", "longitude"} <= set(card.numbers)


def _graph(card: Card, settings: DashboardSettings) -> Any:
    if _is_place(card):
        if settings.map_tiles_url:
            tiles = figures.tile_map(settings.map_tiles_url, settings.map_attribution)
            return _chart("map", tiles, _MAP_CONFIG)
        return _chart("track", figures.track(), _GRAPH_CONFIG)
    groups = _groups(card)
    return _chart("chart", figures.chart(groups, _hidden(card)), _GRAPH_CONFIG, 190 + 80 * (len(groups) - 1))


def _chart(kind: str, figure: figures.Figure, config: Any, height: int = 300) -> Any:
    """A graph at least `height` px high; it takes what its row of cards leaves it."""
    graph = dcc.Graph(figure=figure, config=config, responsive=True)
    return html.Div(graph, className="graph", style={"minHeight": height}, **_data(chart=kind), **_drawn("Chart"))


def _groups(card: Card) -> list[list[str]]:
    """The card's channels by panel; one whose line is off at first gets no panel of its own."""
    hidden = _hidden(card)
    groups = sensors.by_unit(card.sensor, [channel for channel in card.numbers if channel not in hidden])
    return [groups[0] + hidden, *groups[1:]] if groups else []


def _hidden(card: Card) -> list[str]:
    """Channels whose lines are off at first: accuracy (0 to 3) would flatten the others' lines."""
    return ["accuracy"] if "accuracy" in card.numbers and len(card.numbers) > 1 else []


def _named(label: str) -> Any:
    return {"aria-label": label}


def _drawn(label: str) -> Any:
    """What a screen reader says of a drawing; the values beside it are in words."""
    return {"role": "img", **_named(label)}


def _data(**names: str) -> Any:
    """Attributes `data-…`, by which the page's script finds the element."""
    return {f"data-{name}": value for name, value in names.items()}


PAGE: Final = Page(name="live", path="/", title="Live", icon="live", layout=page, register=register)
