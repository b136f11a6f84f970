"""Settings of the dashboard."""

from dataclasses import dataclass

from services.common.database import DatabaseSettings
from services.common.settings import secret, setting


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """What the pages and the server need; how to reach PostgreSQL stands in `DashboardDatabaseSettings`."""

    host: str = setting("DASHBOARD_HOST", "address that the web page listens on", "0.0.0.0")  # noqa: S104  # a container's
    port: int = setting("DASHBOARD_PORT", "port of the web page", 8050)
    metrics_port: int = setting("DASHBOARD_METRICS_PORT", "port of the Prometheus metrics", 9103)
    metrics_password: str = secret("METRICS_PASSWORD", "file with their password; none: on loopback alone", "")
    threads: int = setting("DASHBOARD_THREADS", "requests that are answered at the same time", 16)
    ingest_url: str = setting(
        "INGEST_URL", "address that phones push to, shown to people", "http://127.0.0.1:5000/sensor_data"
    )
    map_tiles_url: str = setting(
        "MAP_TILES_URL", "map tiles with {z}, {x} and {y}; empty for a plain grid in metres and no other host", ""
    )
    map_attribution: str = setting("MAP_ATTRIBUTION", "whom the map thanks for its tiles", "")
    trace_url: str = setting(
        "TRACE_URL", "address of a trace, with {trace_id} in it; empty: no links from the pages to traces", ""
    )
    proxy_hops: int = setting(
        "DASHBOARD_PROXY_HOPS", "proxies whose X-Forwarded-For and -Proto count: 1 behind the HTTPS edge, else 0", 0
    )
    sign_in_lifetime_s: float = setting("DASHBOARD_SIGN_IN_LIFETIME_S", "longest that a sign-in lasts, in s", 604_800.0)
    sign_in_idle_s: float = setting("DASHBOARD_SIGN_IN_IDLE_S", "longest without any request, in s", 43_200.0)
    sign_in_away_s: float = setting(
        "DASHBOARD_SIGN_IN_AWAY_S", "longest that one counts while PostgreSQL cannot be asked, in s", 3600.0
    )
    first_user: str = setting("DASHBOARD_FIRST_USER", "who is made when there is no user yet", "admin")
    first_password: str = secret("DASHBOARD_FIRST_PASSWORD", "file with the first user's password", "")
    export_directory: str = setting(
        "DASHBOARD_EXPORT_DIRECTORY", "directory of exports until they are fetched; empty: where temporary files go", ""
    )
    exports_at_once: int = setting("DASHBOARD_EXPORTS_AT_ONCE", "exports that are made at the same time", 1)
    log_format: str = setting("LOG_FORMAT", "json or text", "json")


@dataclass(frozen=True, kw_only=True)
class DashboardDatabaseSettings(DatabaseSettings):
    """Where PostgreSQL is; the dashboard connects with its own role, which can only read sensor data."""

    user: str = setting("DATABASE_USER", "role of the dashboard", "dashboard")
    connections: int = setting("DASHBOARD_DATABASE_CONNECTIONS", "most connections to PostgreSQL", 6)
    statement_timeout_s: float = setting("DASHBOARD_STATEMENT_TIMEOUT_S", "longest a query may take, in s", 10.0)
