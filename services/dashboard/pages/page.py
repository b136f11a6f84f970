"""What a page is: where it is found, what it looks like, and what happens on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dash import Dash

from services.dashboard.access.accounts import Accounts
from services.dashboard.access.sign_ins import SignIns
from services.dashboard.database import Database
from services.dashboard.history import History
from services.dashboard.live import Live
from services.dashboard.phones import Phones
from services.dashboard.queries import Queries
from services.dashboard.queries.phones import PhoneQueries
from services.dashboard.queries.sessions import SessionQueries
from services.dashboard.regularity import Regularities
from services.dashboard.sessions import Sessions
from services.dashboard.settings import DashboardSettings

AWAY: Final = "The database cannot be reached. This goes on by itself."
"""What a page says that asks again and again."""


@dataclass(frozen=True)
class Services:
    """What the pages are made with; one object for all of them. `changes` may write, `queries` only read."""

    settings: DashboardSettings
    queries: Queries
    live: Live
    history: History
    changes: Database
    accounts: Accounts
    sign_ins: SignIns
    phone_queries: PhoneQueries
    phones: Phones
    session_queries: SessionQueries
    regularities: Regularities
    sessions: Sessions


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the application, one per module of this package, listed in `PAGES`.

    `layout` makes its content, without data, each time somebody opens it; its outermost element has the page's name as
    its id. `register` connects its callbacks, once. `icon` is the name of a picture in `assets`, without its ending;
    a page without one does not stand in the navigation.
    """

    name: str
    path: str
    title: str
    layout: Callable[[Services], Any]
    register: Callable[[Dash, Services], None]
    icon: str = ""
