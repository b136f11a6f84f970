"""Every page by axe-core's rules for WCAG 2.1 A and AA, in light and dark, on a desk and on a phone."""

import time
from importlib.resources import files

import pytest

from services.dashboard.pages import PAGES
from tests.integration.recordings import motion

pytestmark = pytest.mark.usefixtures("recorded")
AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
SERIOUS = ("serious", "critical")


@pytest.fixture
def recorded(recorder):
    """Something of each kind of card."""
    now = time.time()
    turn = [("orientation", now, {"qw": 1, "qx": 0, "qy": 0, "qz": 0, "yaw": 0.1, "pitch": 0, "roll": 0})]
    place = [("location", now - 1, {"latitude": 52.5, "longitude": 13.3, "horizontalAccuracy": 5})]
    texts = [("activity", now - 1, {"activity": "walking"}), ("annotation", now - 0.5, {"text": "start"})]
    recorder.send(motion(now - 2, 2) + turn + place + texts)


def findings(browser):
    """What axe finds: rule and element of each serious or critical violation."""
    browser.driver.set_script_timeout(60)
    browser.run(AXE)
    results = browser.driver.execute_async_script(
        "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']}).then(arguments[1])", RULES
    )
    assert results["passes"] or results["violations"], "axe looked at nothing"
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in results["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_page_has_no_serious_finding(dashboard, browser, path):
    """No serious or critical finding in any look; nothing sticks out sideways on a phone."""
    browser.open(dashboard.url + path)
    browser.wait(lambda: len(browser.text("#page")) > 40 and "Loading" not in browser.text("#page"))
    choose = "document.documentElement.setAttribute('data-mantine-color-scheme', arguments[0])"
    assert_no_finding_in_any_look(browser, lambda scheme: browser.run(choose, scheme))


def test_sign_in_page_has_no_serious_finding(dashboard, browser):
    """Nor has the page before all others, with what it says of a wrong password."""
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.open(dashboard.url)
    for name in ("user", "password"):
        browser.driver.find_element("css selector", f"input[name={name}]").send_keys("nobody")
    browser.driver.find_element("css selector", "button[type=submit]").click()
    browser.wait(lambda: browser.text("[role=alert]"))
    browser.errors()  # the answer 401 is one

    def choose(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    assert_no_finding_in_any_look(browser, choose)
    choose("")


def assert_no_finding_in_any_look(browser, choose_scheme):
    """Light and dark, on a desk and on a phone: no serious finding, and nothing sticks out sideways."""
    found = {}
    for scheme in ("light", "dark"):
        choose_scheme(scheme)
        for width in (1440, 360):
            browser.resize(width, 900)
            browser.draw_again()
            browser.wait(lambda width=width: browser.run("return document.documentElement.scrollWidth") <= width)
            found[scheme, width] = findings(browser)
    assert {look: each for look, each in found.items() if each} == {}


def test_finding_would_be_noticed(dashboard, browser):
    """The check above fails where text cannot be read or a button has no name."""
    browser.open(dashboard.url)
    browser.wait(lambda: len(browser.text("#page")) > 40)
    browser.run(
        """document.querySelector("#page").insertAdjacentHTML("afterbegin",
             "<button></button><p style='color:#ddd;background:#fff'>pale</p>")"""
    )
    assert {"button-name", "color-contrast"} <= {rule for rule, *_ in findings(browser)}
