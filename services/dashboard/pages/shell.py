"""The frame around every page: header, color scheme, the place for the page."""

from typing import Any

import dash_mantine_components as dmc
from dash import html

SYSTEM_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


def shell(page: Any) -> Any:
    """The whole document body around `page`."""
    header = dmc.AppShellHeader(_header(), px="md")
    return dmc.MantineProvider(
        dmc.AppShell([header, dmc.AppShellMain(page)], header={"height": 56}, padding="md"),
        defaultColorScheme="auto",
        theme={"fontFamily": SYSTEM_FONTS, "primaryColor": "indigo", "defaultRadius": "md"},
    )


def _header() -> Any:
    return dmc.Group(
        [
            html.A(
                [html.Span(className="mark"), html.Span("Sensor Stream", className="brand-name")],
                href="/",
                className="brand",
            ),
            dmc.Group([_age(), _scheme_toggle()], gap="sm", wrap="nowrap"),
        ],
        justify="space-between",
        h="100%",
        wrap="nowrap",
    )


def _age() -> Any:
    """How old the newest reading is: filled by the page's script, on the server's clock."""
    return html.Div(
        [html.Span(className="dot"), html.Span("", id="age-text")], id="age", role="status", className="age"
    )


def _scheme_toggle() -> Any:
    return dmc.ColorSchemeToggle(
        id="color-scheme",
        lightIcon=html.Span(className="icon icon-sun"),
        darkIcon=html.Span(className="icon icon-moon"),
        variant="default",
        size="lg",
        **{"aria-label": "Light or dark"},
    )
