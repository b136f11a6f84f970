"""What a page is: where it is found, what it looks like, and what happens on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dash import Dash

from services.dashboard.history import History
from services.dashboard.live import Live
from services.dashboard.queries import Queries
from services.dashboard.settings import DashboardSettings


@dataclass(frozen=True)
class Services:
    """What the pages are made with; one object for all of them."""

    settings: DashboardSettings
    queries: Queries
    live: Live
    history: History


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the application, one per module of this package, listed in `PAGES`.

    `layout` makes its content, without data, each time somebody opens it; its outermost element has the page's name as
    its id. `register` connects its callbacks, once. `icon` is the name of a picture in `assets`, without its ending.
    """

    name: str
    path: str
    title: str
    icon: str
    layout: Callable[[Services], Any]
    register: Callable[[Dash, Services], None]
