"""The frame around every page: header, navigation, colour scheme, and the place into which a page is put."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html

from services.dashboard.pages.page import Page, Services

_SHADE: Any = {"light": 7, "dark": 8}  # white on it has a contrast of 5.0 and more
SYSTEM_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


def shell(pages: Sequence[Page]) -> Any:
    """The whole document body; `register` fills the page in."""
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="titles", data={page.path: page.title for page in pages}),
            html.A("To the content", href="#page", className="skip"),
            html.Header([_brand(), _navigation(pages), _right()], className="top"),
            html.Main(id="page", tabIndex="-1"),
        ],
        defaultColorScheme="auto",
        theme={"fontFamily": SYSTEM_FONTS, "primaryColor": "indigo", "primaryShade": _SHADE, "defaultRadius": "md"},
    )


def register(app: Dash, pages: Sequence[Page], services: Services) -> None:
    """Show the page that the address names, and connect what happens on each."""
    by_path = {page.path: page for page in pages}

    @app.callback(Output("page", "children"), Input("url", "pathname"))
    def show(path: Any) -> Any:
        page = by_path.get(path)
        return page.layout(services) if page else _nothing_here()

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("shell", "arrive"), Input("url", "pathname"), Input("url", "search"), State("titles", "data")
    )
    for page in pages:
        page.register(app, services)


def _nothing_here() -> Any:
    words = [dmc.Title("Nothing is here", order=1, size="h3"), html.A("To the live view", href="/")]
    return dmc.Paper(words, withBorder=True, p="xl", className="state shown")


def _brand() -> Any:
    words = [html.Span(className="mark"), html.Span("Sensor Stream", className="brand-name")]
    return dcc.Link(words, href="/", className="brand")


def _navigation(pages: Sequence[Page]) -> Any:
    """Links in the header, or along the lower edge of a phone's screen."""
    links = [
        dcc.Link([html.Span(className=f"icon icon-{page.icon}"), html.Span(page.title)], href=page.path)
        for page in pages
        if page.icon
    ]
    label: Any = {"aria-label": "Pages"}
    return html.Nav(links, className="navigation", id="navigation", **label)


def _right() -> Any:
    return html.Div([_age(), _scheme_toggle()], className="right")


def _age() -> Any:
    """How old the newest reading is: filled by the Live page's script, on the server's clock."""
    return html.Div([html.Span(className="dot"), html.Span("", id="age-text")], id="age", role="timer", className="age")


def _scheme_toggle() -> Any:
    return dmc.ColorSchemeToggle(
        id="color-scheme",
        lightIcon=html.Span(className="icon icon-sun"),
        darkIcon=html.Span(className="icon icon-moon"),
        variant="default",
        size="lg",
        **{"aria-label": "Light or dark"},
    )
