"""The Account page: password, sign-ins, the audit log, and the way out."""

import contextlib

from selenium.webdriver.common.keys import Keys

from services.common.database import connect
from services.dashboard import users
from tests.integration.dashboard.served import cookie_of, let_in, wait_for
from tests.integration.dashboard.test_phones import click

OLD, NEW = "the password of before", "the password of after"


def type_over(fields, texts):
    """Type into each field in place of what stands there, as a person does: a cleared field tells React nothing."""
    for field, text in zip(fields, texts, strict=True):
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)


def test_a_password_is_changed_and_others_are_signed_out(cluster, dashboard, browser, operator):
    """A new password needs the old one, holds at once, and ends the sign-ins in other browsers."""
    assert operator
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection:
        users.add_user(connection, "pia", OLD, "viewer")
    other = cookie_of(dashboard.sign_in("pia", OLD))
    let_in(browser, dashboard, cookie_of(dashboard.sign_in("pia", OLD)))
    browser.open(f"{dashboard.url}/account")
    browser.wait(lambda: browser.text("#account-change"))
    assert "Audit log" not in browser.text("#account")
    fields = browser.driver.find_elements("css selector", "#account input[type=password]")
    for old, new, words in (("wrong", NEW, "is not right"), (OLD, "short", "12 to 256")):
        type_over(fields, (old, new))
        click(browser, "Change the password", "#account")
        browser.wait(lambda words=words: words in browser.text("#account-trouble"))
    type_over(fields, (OLD, NEW))
    click(browser, "Change the password", "#account")
    browser.wait(lambda: "The password is changed" in browser.text("#account-told"))
    wait_for(lambda: dashboard.ask("GET", "/_dash-layout", cookie=other).status == 401, 10)
    assert dashboard.sign_in("pia", OLD).status == 401
    assert dashboard.sign_in("pia", NEW).status == 303
    click(browser, "Sign out", "#account")
    browser.wait(lambda: browser.run("return location.pathname") == "/sign-in")


def test_operators_see_what_people_did(dashboard, browser):
    """The audit log stands on the operator's account page, with this very sign-in."""
    browser.open(f"{dashboard.url}/account")
    browser.wait(lambda: "Audit log" in browser.text("#account"))
    assert "signed in" in browser.text("#account table")
    assert "This browser" in browser.text("#account")
