"""Signing in, being refused, and what nobody gets without it."""

import contextlib
import time

import pytest

from services.common.database import connect
from services.dashboard import users
from tests.integration.dashboard.conftest import VIEWER_PASSWORD
from tests.integration.dashboard.served import OPERATOR, Dashboard, cookie_of, wait_for
from tests.scrape import assert_refuses_strangers, assert_tells_strangers_that_it_lives

CLOSED = [
    "/", "/history", "/sessions", "/phones", "/account", "/nothing-here", "/metrics", "/exports/1", "/static/x",
    "/_dash-layout", "/_dash-dependencies", "/_reload-hash", "/_favicon.ico", "//_dash-layout", "/%2e%2e/_dash-layout",
    "/_dash-component-suites/dash/dcc/dash_core_components.js", "/assets/../_dash-layout", "/assets/%2e%2e/_x",
    "/sign-in/", "/sign-in/..", "/livez/", "/assets", "/assets/../",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_failures(cluster):
    """Failed attempts of one test do not slow the next."""
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute("TRUNCATE sign_in_failure")


def rows(cluster, statement, *parameters):
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def manage(cluster, *arguments, password=""):
    """The command `users` as the operator types it."""
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection:
        return users.run(connection, users.parse(arguments), password)


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_is_answered_before_signing_in(dashboard, path):
    """Every address but the sign-in page, pictures and health says 401, or leads a browser to the sign-in page."""
    assert dashboard.ask("GET", path).status in (401, 404)
    page = dashboard.ask("GET", path, Accept="text/html")
    assert page.status in (302, 404, 308)
    assert "<script" not in page.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/_dash-update-component", "/sign-out", "/exports", "/anything"])
def test_nothing_is_changed_before_signing_in(dashboard, method, path):
    """Nobody who is not signed in can make the server do something."""
    assert dashboard.ask(method, path, "{}", Content_Type="application/json").status == 401


def test_a_made_up_cookie_is_none(dashboard, operator):
    """A secret that nobody was given, or a changed one, is not signed in."""
    for cookie in ("sign-in=x", f"{operator}x", operator[:-1], "sign-in=", f"__Host-{operator}"):
        assert dashboard.ask("GET", "/_dash-layout", cookie=cookie).status == 401
    assert dashboard.ask("GET", "/_dash-layout", cookie=operator).status == 200


def test_the_first_user_signs_in_and_comes_back(dashboard, browser):
    """A link leads to the sign-in page, from there to where it pointed, and signing out ends it on the server too."""
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.open(f"{dashboard.url}/?range=2m")
    assert "/sign-in" in browser.run("return location.pathname")
    browser.sign_in(f"{dashboard.url}/?range=2m", OPERATOR, dashboard.password)
    assert browser.run("return location.pathname + location.search") == "/?range=2m"
    browser.wait(lambda: browser.text("#live"))
    [cookie] = browser.driver.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    secret = f"{cookie['name']}={cookie['value']}"
    assert dashboard.ask("GET", "/_dash-layout", cookie=secret).status == 200
    browser.run("fetch('/sign-out', {method: 'POST'})")
    wait_for(lambda: dashboard.ask("GET", "/_dash-layout", cookie=secret).status == 401, 10)


def test_an_ended_sign_in_leads_to_the_form(dashboard, browser):
    """A page that is open while its sign-in ends asks to sign in again, and comes back to the same place."""
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.sign_in(f"{dashboard.url}/?range=10m", OPERATOR, dashboard.password)
    browser.wait(lambda: browser.text("#live"))
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.wait(lambda: browser.run("return location.pathname") == "/sign-in")
    assert "range%3D10m" in browser.run("return location.search")
    browser.errors()  # the refused request stands in the console, as it should


@pytest.mark.parametrize(
    ("user", "password"),
    [("admin", "wrong"), ("nobody", "wrong"), ("ADMIN ", "wrong"), ("' OR 1=1 --", "x"), ("admin", "x" * 1000)],
)
def test_a_wrong_password_says_nothing_about_the_user(dashboard, operator, user, password):
    """Whether there is such a user cannot be told from the answer."""
    assert operator
    answer = dashboard.sign_in(user, password)
    assert answer.status == 401
    assert "User name or password is not right." in answer.text
    assert answer.headers["Set-Cookie"] is None


@pytest.mark.parametrize("form", ["", "user=admin", "password=x", "user=&password=", "user=a%00b&password=x"])
def test_an_incomplete_form_is_asked_again(dashboard, form):
    """What is no user name and password gets the form once more, never an error of the server."""
    answer = dashboard.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 400
    assert "Enter the user name and the password." in answer.text


def test_guessing_is_slowed_down(dashboard, cluster, operator):
    """After ten wrong passwords even the right one has to wait; other users at other addresses do not."""
    assert operator
    statuses = [dashboard.sign_in(OPERATOR, f"wrong {place}").status for place in range(10)]
    assert statuses == [401] * 10
    answer = dashboard.sign_in()
    assert answer.status == 429
    assert 60 < int(answer.headers["Retry-After"]) <= 900
    assert "Too many attempts" in answer.text
    rows_left = "UPDATE sign_in_failure SET at = at - interval '16 minutes' RETURNING 1"
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute(rows_left)
    assert dashboard.sign_in().status == 303


def test_guessing_many_names_is_slowed_down(dashboard, cluster):
    """One address cannot try a few passwords on each of many names."""
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute(
            "INSERT INTO sign_in_failure (name, network) SELECT n::text, '127.0.0.1' FROM generate_series(1, 50) AS n"
        )
    assert dashboard.sign_in("somebody", "wrong").status == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Sec_Fetch_Site": None},
        {"Origin": "null", "Sec_Fetch_Site": None},
        {"Origin": None, "Sec_Fetch_Site": None},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
    ],
)
def test_another_sites_page_changes_nothing(dashboard, operator, headers):
    """A request that changes something is refused unless it comes from the dashboard's own page, cookie or not."""
    for path in ("/_dash-update-component", "/sign-out", "/sign-in"):
        assert dashboard.ask("POST", path, "{}", operator, Content_Type="application/json", **headers).status == 403
    assert dashboard.ask("GET", "/_dash-layout", cookie=operator).status == 200


def test_every_answer_has_its_headers(dashboard, operator):
    """Pages, data and errors forbid foreign scripts and frames, and are not kept by caches."""
    for path, cookie in (("/", operator), ("/sign-in", None), ("/_dash-layout", operator), ("/nothing", None)):
        headers = dashboard.ask("GET", path, cookie=cookie).headers
        policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
        assert "unsafe" not in policy["script-src"]
        assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'",) * 3
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/\tx", "evil", "/sign-out"]
)
def test_signing_in_leads_to_no_other_host(dashboard, target):
    """The page to go on to is one of the dashboard's own."""
    form = f"user={OPERATOR}&password={dashboard.password}&next={target}"
    answer = dashboard.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded")
    assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_who_is_disabled_is_out(dashboard, cluster, operator):
    """A disabled user is signed out within seconds and cannot come back until enabled."""
    assert operator
    manage(cluster, "add", "dora", password=VIEWER_PASSWORD)
    cookie = cookie_of(dashboard.sign_in("dora", VIEWER_PASSWORD))
    assert dashboard.ask("GET", "/_dash-layout", cookie=cookie).status == 200
    manage(cluster, "disable", "Dora")
    wait_for(lambda: dashboard.ask("GET", "/_dash-layout", cookie=cookie).status == 401, 15)
    assert dashboard.sign_in("dora", VIEWER_PASSWORD).status == 401
    manage(cluster, "enable", "dora")
    assert dashboard.sign_in("dora", VIEWER_PASSWORD).status == 303


def test_commands_tell_and_keep_the_rules(cluster, operator):
    """Names are taken once, whatever their case; weak passwords are refused; changes are in the audit log."""
    assert operator
    manage(cluster, "add", "Zoe", "--role", "operator", password=VIEWER_PASSWORD)
    assert "Zoe" in manage(cluster, "list")
    with pytest.raises(users.UserError, match="already"):
        manage(cluster, "add", "zoe", password=VIEWER_PASSWORD)
    for weak in ("", "short", "zoezoezoezoe", "aaaaaaaaaaaaaaaa"):
        with pytest.raises(users.PasswordError):
            manage(cluster, "password", "zoe", password=weak)
    with pytest.raises(users.UserError, match="no user"):
        manage(cluster, "role", "nobody", "viewer")
    manage(cluster, "role", "zoe", "viewer")
    told = rows(cluster, "SELECT action, detail FROM audit WHERE subject ILIKE 'zoe' ORDER BY audit_id")
    assert told == [("user added", "operator"), ("role changed", "viewer")]
    [[stored]] = rows(cluster, "SELECT password_hash FROM dashboard_user WHERE name = 'Zoe'")
    assert stored.startswith("$argon2id$")


def test_sign_ins_are_told(cluster, dashboard, operator):
    """The audit log knows who signed in and who was refused, and never what was typed as an unknown name."""
    assert operator
    dashboard.sign_in("my secret password", "x")
    dashboard.sign_in(OPERATOR, "wrong")
    newest = rows(cluster, "SELECT actor, address, action FROM audit ORDER BY audit_id DESC LIMIT 2")
    assert newest == [(OPERATOR, "127.0.0.1", "sign-in refused"), ("unknown", "127.0.0.1", "sign-in refused")]
    assert dashboard.metric('dashboard_sign_ins_total{outcome="wrong"}') >= 2


def test_metrics_need_their_password(dashboard):
    """The port answers a stranger only that the dashboard lives."""
    assert_refuses_strangers(dashboard.metrics_port)
    assert_tells_strangers_that_it_lives(dashboard.metrics_port)


def test_the_log_cannot_be_changed(cluster):
    """The dashboard's own role writes into the audit log and cannot change or delete there, nor make users."""
    for statement in (
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "INSERT INTO dashboard_user (name, password_hash, role) VALUES ('x', 'x', 'operator')",
        "UPDATE dashboard_user SET role = 'operator'",
        "DELETE FROM dashboard_user",
    ):
        with contextlib.closing(connect(cluster.settings("dashboard"), "test")) as connection:
            cursor = connection.cursor()
            with pytest.raises(Exception, match="permission denied"):
                cursor.execute(statement)


def test_only_the_first_user_is_made_by_itself(cluster, operator):
    """Once there is any user, the function that makes the first one does nothing."""
    assert operator
    with (
        contextlib.closing(connect(cluster.settings("dashboard"), "test")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT make_first_user('mallory', 'x')")
        assert cursor.fetchone() == (False,)


def test_a_sign_in_outlives_the_database(cluster, directory, operator):
    """While PostgreSQL is away who is signed in stays so for a bounded time; nobody else gets in."""
    assert operator
    away = Dashboard(cluster, directory, DASHBOARD_SIGN_IN_AWAY_S="8")
    away.start()
    try:
        cookie = cookie_of(away.sign_in())
        assert away.ask("GET", "/_dash-layout", cookie=cookie).status == 200
        seen = time.monotonic()
        cluster.stop()
        try:
            while time.monotonic() - seen < 6:
                assert away.ask("GET", "/_dash-layout", cookie=cookie).status == 200
                time.sleep(0.5)
            refused = away.sign_in()
            assert refused.status == 503
            assert "database cannot be reached" in refused.text
            assert away.ask("GET", "/_dash-layout", cookie=f"{cookie}x").status == 503
            wait_for(lambda: away.ask("GET", "/_dash-layout", cookie=cookie).status == 503, 30)
        finally:
            cluster.start()
        wait_for(lambda: away.ask("GET", "/_dash-layout", cookie=cookie).status == 200, 15)
    finally:
        away.stop()


def test_behind_the_edge_cookies_need_https(cluster, directory, operator):
    """Behind one proxy its word for address and scheme counts, and the cookie goes over HTTPS to this host only."""
    assert operator
    behind = Dashboard(cluster, directory, DASHBOARD_PROXY_HOPS="1")
    behind.start()
    try:
        proxied = {"X_Forwarded_For": "6.6.6.6, 203.0.113.9", "X_Forwarded_Proto": "https", "Host": "sensors.example"}
        answer = behind.sign_in(Origin="https://sensors.example", **proxied)
        assert answer.status == 303
        assert answer.headers["Set-Cookie"].startswith("__Host-sign-in=")
        assert "; Secure" in answer.headers["Set-Cookie"]
        assert rows(cluster, "SELECT address FROM sign_in ORDER BY created_at DESC LIMIT 1") == [("203.0.113.9",)]
        assert behind.sign_in(Origin="http://sensors.example", Sec_Fetch_Site=None, **proxied).status == 403
    finally:
        behind.stop()


def test_without_a_proxy_its_headers_do_not_count(dashboard, cluster, operator):
    """On a laptop nobody can claim another address."""
    assert operator
    assert dashboard.sign_in(X_Forwarded_For="203.0.113.7").status == 303
    assert rows(cluster, "SELECT address FROM sign_in ORDER BY created_at DESC LIMIT 1") == [("127.0.0.1",)]
