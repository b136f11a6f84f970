"""The dashboard, put together from its settings."""

from functools import partial

from dash import Dash
from flask import Flask, Response, request

from services.common.database import connect
from services.common.telemetry import Tracing
from services.dashboard import exports, health, metrics, pictures, traces
from services.dashboard.database import Database
from services.dashboard.history import History
from services.dashboard.live import Live
from services.dashboard.pages import PAGES, Services, shell
from services.dashboard.queries import Queries
from services.dashboard.queries.history import HistoryQueries
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


def create_app(settings: DashboardSettings, database: DashboardDatabaseSettings) -> Flask:
    """The web application. Connects to PostgreSQL when the first page asks, not before."""
    open_connection = partial(connect, database, "dashboard", database.statement_timeout_s)
    pool = Database(open_connection, database.connections)
    queries = Queries(pool)
    history = History(queries, HistoryQueries(pool))
    app = Dash(
        "services.dashboard",
        title="Sensor Stream",
        update_title="",
        index_string=INDEX,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1, viewport-fit=cover"}],
        serve_locally=True,
        add_log_handler=False,
        suppress_callback_exceptions=True,  # a page's elements are there while it is shown
    )
    traces.register(app.server, Tracing("dashboard"))
    app.layout = shell.shell(PAGES)
    shell.register(app, PAGES, Services(settings=settings, queries=queries, live=Live(queries), history=history))
    health.register(app.server, queries)
    pictures.register(app.server, queries)
    exports.register(app.server, exports.Exports(), lambda: "")
    app.server.after_request(_count_update)
    return app.server  # type: ignore[no-any-return]


def _count_update(response: Response) -> Response:
    if request.path == "/_dash-update-component":
        metrics.record_update(response.content_length or 0)
    return response
