"""The dashboard, put together from its settings."""

from functools import partial
from pathlib import Path
from typing import Any, Final

from dash import Dash
from flask import Flask, Response, request

from services.common.database import connect
from services.common.telemetry import Tracing
from services.dashboard import exports, health, metrics, pictures, traces
from services.dashboard.access import current, guard, routes
from services.dashboard.access.accounts import Accounts
from services.dashboard.access.sign_ins import FirstUser, SignIns
from services.dashboard.database import Database
from services.dashboard.history import History
from services.dashboard.live import Live
from services.dashboard.pages import PAGES, Services, shell
from services.dashboard.phones import Phones
from services.dashboard.queries import Queries
from services.dashboard.queries.history import HistoryQueries
from services.dashboard.queries.phones import PhoneQueries
from services.dashboard.queries.sessions import SessionQueries
from services.dashboard.regularity import Regularities
from services.dashboard.sessions import Sessions
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings

INDEX = """<!DOCTYPE html>
<html lang="en">
    <head>{%metas%}<title>{%title%}</title>
        <link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">{%css%}</head>
    <body>
        {%app_entry%}
        <noscript>This page moves by JavaScript: please switch it on.</noscript>
        <footer>{%config%}{%scripts%}{%renderer%}</footer>
    </body>
</html>
"""
_META: Final = [{"name": "viewport", "content": "width=device-width, initial-scale=1, viewport-fit=cover"}]
_CHANGING_CONNECTIONS: Final = 3


def create_app(settings: DashboardSettings, database: DashboardDatabaseSettings) -> Flask:
    """The web application. Connects to PostgreSQL when the first page asks, not before."""
    services = _services(settings, database)
    app = Dash(
        "services.dashboard",
        title="Sensor Stream",
        update_title="",
        index_string=INDEX,
        meta_tags=_META,
        serve_locally=True,
        add_log_handler=False,
        suppress_callback_exceptions=True,  # a page's elements are there while it is shown
    )
    server: Flask = app.server
    traces.register(server, Tracing("dashboard"))
    app.layout = partial(shell.shell, PAGES)
    shell.register(app, PAGES, services)
    guard.protect(server, services.sign_ins, settings, app.csp_hashes())
    routes.register(server, services.sign_ins, settings)
    health.register(server, services.queries)
    pictures.register(server, services.queries)
    directory = Path(settings.export_directory) if settings.export_directory else None
    exports.register(server, exports.Exports(directory, settings.exports_at_once), lambda: current().name)
    metrics.watch_viewers(services.sign_ins.viewers)
    server.after_request(_count_update)
    return server


def _services(settings: DashboardSettings, database: DashboardDatabaseSettings) -> Services:
    """Reading has its own connections, so that no long query keeps anybody from signing in."""
    open_connection = partial(connect, database, "dashboard", database.statement_timeout_s)
    reading = Database(open_connection, database.connections)
    queries = Queries(reading)
    changes = Database(open_connection, _CHANGING_CONNECTIONS, writable=True)
    session_queries = SessionQueries(reading)
    accounts = Accounts(changes, settings.sign_in_lifetime_s, settings.sign_in_idle_s)
    first = FirstUser(name=settings.first_user, password=settings.first_password)
    return Services(
        settings=settings,
        queries=queries,
        live=Live(queries),
        history=History(queries, HistoryQueries(reading), with_traces=bool(settings.trace_url)),
        changes=changes,
        accounts=accounts,
        sign_ins=SignIns(accounts, first, settings.sign_in_away_s),
        phone_queries=PhoneQueries(reading),
        phones=Phones(changes),
        session_queries=session_queries,
        regularities=Regularities(session_queries),
        sessions=Sessions(changes),
    )


def _count_update(response: Response) -> Any:
    if request.path == "/_dash-update-component":
        metrics.record_update(response.content_length or 0)
    return response
