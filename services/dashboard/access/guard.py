"""The guard: nothing is answered before somebody is signed in, and nothing is changed from another site's page."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from flask import Flask, Response, abort, g, jsonify, redirect, render_template, request
from werkzeug.middleware.proxy_fix import ProxyFix

from services.dashboard import metrics
from services.dashboard.access.sign_ins import SignIns
from services.dashboard.database import DatabaseAwayError
from services.dashboard.settings import DashboardSettings

MAX_BODY_BYTES: Final = 1024 * 1024
_OPEN: Final = frozenset(["/sign-in", "/livez", "/readyz"])
_OPEN_BELOW: Final = "/assets/"
_HARMLESS: Final = frozenset(["GET", "HEAD", "OPTIONS"])
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def protect(server: Flask, sign_ins: SignIns, settings: DashboardSettings, inline_scripts: Sequence[str]) -> None:
    """Let only those pass who are signed in. `inline_scripts`: hashes of the scripts that stand in our own page."""
    server.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    if settings.proxy_hops:
        hops = settings.proxy_hops
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    policy = content_security_policy(settings.map_tiles_url, inline_scripts)

    @server.before_request
    def check() -> Any:
        if request.method not in _HARMLESS and not _is_from_our_page():
            metrics.record_request_refused("other_origin")
            abort(403)
        if request.path in _OPEN or request.path.startswith(_OPEN_BELOW):
            return None
        return _sign_in_or_refuse(sign_ins, settings)

    server.after_request(_add_headers(policy))


def _sign_in_or_refuse(sign_ins: SignIns, settings: DashboardSettings) -> Any:
    secret = request.cookies.get(cookie_name(settings), "")
    try:
        g.viewer = sign_ins.viewer(secret) if secret else None
    except DatabaseAwayError:
        return _away()
    if g.viewer is not None:
        return None
    metrics.record_request_refused("not_signed_in")
    if _is_navigation():
        return redirect(f"/sign-in?next={quote(request.full_path.rstrip('?'), safe='')}")
    return jsonify(error="not_signed_in", detail="Sign in first."), 401


def _away() -> Any:
    sentence = "The database cannot be reached, so it cannot be seen who you are: try again in a moment."
    if _is_navigation():
        return render_template("sign-in.html", trouble=sentence, next="/"), 503, {"Retry-After": "5"}
    return jsonify(error="away", detail=sentence), 503, {"Retry-After": "5"}


def _is_navigation() -> bool:
    """Whether a person waits for a page, not a page for its data."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _is_from_our_page() -> bool:
    """Browsers say where a request comes from; one that does not say is refused.

    Fetch Metadata, https://www.w3.org/TR/fetch-metadata/; Origin for those without it, and for plain HTTP. An edge on a
    laptop changes the scheme unseen, so beside the browser's own word the host is enough.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site is None:
        return origin == request.host_url.rstrip("/")
    return site == "same-origin" and (origin is None or urlsplit(origin).netloc == request.host)


def cookie_name(settings: DashboardSettings) -> str:
    """Behind HTTPS a name that browsers take only from this very host, over HTTPS."""
    return "__Host-sign-in" if settings.proxy_hops else "sign-in"


def content_security_policy(map_tiles_url: str, inline_scripts: Sequence[str]) -> str:
    """Scripts only from here; styles may stand in the page, as Mantine and Plotly make them there."""
    place = urlsplit(map_tiles_url)
    tiles = f" {place.scheme}://{place.netloc}" if map_tiles_url else ""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *inline_scripts]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": f"'self' data: blob:{tiles}",
        "font-src": "'self' data:",
        "connect-src": f"'self'{tiles}",
        "worker-src": "'self' blob:" if tiles else "'self'",
        "manifest-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _add_headers(policy: str) -> Callable[[Response], Response]:
    def add(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if not request.path.startswith(("/assets/", "/_dash-component-suites/")):
            response.headers["Cache-Control"] = "no-store"
        return response

    return add
