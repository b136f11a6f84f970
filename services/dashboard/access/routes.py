"""The page to sign in on, and the way out. They work without JavaScript."""

from typing import Any

from flask import Flask, Response, make_response, redirect, render_template, request

from services.dashboard.access.guard import cookie_name
from services.dashboard.access.sign_ins import RefusedError, SignIns
from services.dashboard.access.viewer import Actor, client_address, current
from services.dashboard.database import DatabaseAwayError
from services.dashboard.settings import DashboardSettings

_LONGEST: int = 1024


def register(server: Flask, sign_ins: SignIns, settings: DashboardSettings) -> None:
    """Answer `/sign-in` and `/sign-out`."""

    @server.get("/sign-in")
    def sign_in_form() -> Any:
        return _form(_next(request.args.get("next")))

    @server.post("/sign-in")
    def sign_in() -> Any:
        target = _next(request.form.get("next"))
        name, password = request.form.get("user", "").strip(), request.form.get("password", "")
        if not (0 < len(name) <= _LONGEST and 0 < len(password) <= _LONGEST) or "\0" in name + password:
            return _form(target, name[:_LONGEST], "Enter the user name and the password."), 400
        try:
            secret = sign_ins.begin(name, password, client_address(), request.headers.get("User-Agent", ""))
        except RefusedError as error:
            return _refusal(target, name, error)
        response = make_response(redirect(target, 303))
        _set_cookie(response, settings, secret, int(settings.sign_in_lifetime_s))
        return response

    @server.post("/sign-out")
    def sign_out() -> Any:
        secret = request.cookies.get(cookie_name(settings), "")
        response = make_response(redirect("/sign-in", 303))
        try:
            sign_ins.end(secret, Actor(current().name, client_address()))
        except DatabaseAwayError:
            return "The database cannot be reached, so you are still signed in: try again in a moment.", 503
        _set_cookie(response, settings, "", 0)
        return response


def _form(target: str, name: str = "", trouble: str = "") -> str:
    return render_template("sign-in.html", next=target, user=name, trouble=trouble)


def _refusal(target: str, name: str, error: RefusedError) -> tuple[str, int, dict[str, str]]:
    if error.wait_s:
        status = 503 if error.wait_s < 10 else 429
        return _form(target, name, str(error)), status, {"Retry-After": str(int(error.wait_s) + 1)}
    return _form(target, name, str(error)), 401, {}


def _next(target: str | None) -> str:
    """Where to go after signing in: a page of ours and nowhere else."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\", "/sign-", "/_")):
        return "/"
    return target if target.isprintable() else "/"


def _set_cookie(response: Response, settings: DashboardSettings, secret: str, seconds: int) -> None:
    is_secure = settings.proxy_hops > 0
    response.set_cookie(
        cookie_name(settings), secret, max_age=seconds, path="/", secure=is_secure, httponly=True, samesite="Lax"
    )
