"""Phones: connecting one as the app would, and what operators do to them."""

import base64
import contextlib
import http.client
import io
import json
import time
from urllib.parse import urlsplit

import pytest
import zstandard
import zxingcpp
from PIL import Image

from ops.local.processes import wait_until
from services.common.database import connect
from services.dashboard.enrolment import SCHEME
from tests.integration.dashboard.served import Dashboard, let_in, press
from tests.integration.ingest_server import Ingest
from tests.integration.recordings import Recorder, motion


@pytest.fixture(scope="module")
def ingest(directory, cluster, kafka):
    with Ingest(directory, cluster, kafka) as running:
        assert wait_until(running.is_ready, 30)
        yield running


@pytest.fixture(scope="module")
def connecting(cluster, directory, ingest):
    """A dashboard whose codes lead to the running ingest."""
    running = Dashboard(cluster, directory, INGEST_URL=f"http://127.0.0.1:{ingest.port}/sensor_data")
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _no_tokens(cluster):
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute("DELETE FROM ingest_token WHERE name NOT LIKE 'tests %'")


def audit(cluster):
    """What people did, the newest first."""
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT actor, action, subject FROM audit ORDER BY audit_id DESC LIMIT 20")
        return cursor.fetchall()


def scan(browser):
    """What a phone's camera reads from the code on the page."""
    whole_page = {"format": "png", "captureBeyondViewport": True}
    picture = base64.b64decode(browser.driver.execute_cdp_cmd("Page.captureScreenshot", whole_page)["data"])
    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)).convert("RGB"))
    return found.text


def imported(text):
    """What the app takes from a link."""
    packed = base64.b64decode(text.removeprefix(SCHEME), validate=True)
    return json.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=10_000))


def push(http_settings, body, words=True):
    """Push as the app does with these settings: status and text of the answer."""
    place = urlsplit(http_settings["url"])
    connection = http.client.HTTPConnection(place.netloc, timeout=20)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": http_settings["authToken"]}
        query = f"?{place.query}" if words else ""
        connection.request("POST", place.path + query, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_push(device):
    return {"deviceId": device, "payload": [{"name": "test"}]}


test_push.__test__ = False


def type_name(browser, name):
    browser.wait(lambda: browser.text("#connect-make"))
    field = browser.driver.find_element("id", "connect-name")
    field.send_keys(name)
    browser.driver.find_element("id", "connect-make").click()
    browser.wait(lambda: browser.run("return Boolean(document.querySelector('#connect-code')?.complete)"))


def click(browser, text, within="body"):
    """Press the button or link with this text, once it is there."""
    script = """const found = [...document.querySelectorAll(`${arguments[1]} button, ${arguments[1]} a`)]
                  .find((one) => one.textContent.trim() === arguments[0] && one.checkVisibility());
                found?.click(); return Boolean(found)"""
    browser.wait(lambda: browser.run(script, text, within))


def test_a_scanned_phone_sends_until_it_is_revoked(connecting, browser, operator, writer, cluster):
    """The code holds all that is needed; the light turns green by a test push; a revoked phone is refused in words."""
    let_in(browser, connecting, operator)
    browser.open(f"{connecting.url}/phones/connect")
    type_name(browser, "Anna’s phone")
    assert "replaces the app’s settings" in browser.text("#connect-result")
    assert "No phone can reach this address" in browser.text("#connect-result")
    browser.wait(lambda: "Waiting for the phone" in browser.text("#connect-light"))
    link = scan(browser)
    assert link == browser.run("return document.querySelector('#connect-link').getAttribute('href')")
    settings = imported(link)["http"]
    assert settings["authToken"] in browser.text("#connect-result")
    assert wait_until(lambda: push(settings, test_push("anna-1"))[0] == 200, 15)
    browser.wait(lambda: "light-green" in browser.run("return document.querySelector('#connect-light').className"))
    assert "has reached us" in browser.text("#connect-light")
    Recorder(writer, "anna-1", "walk").send(motion(time.time() - 1, 1))
    browser.wait(lambda: "See them live" in browser.text("#connect-light"))

    browser.open(f"{connecting.url}/phones")
    browser.wait(lambda: "Anna’s phone" in browser.text("#phones-list"))
    assert "token valid" in browser.text("#phones-list")
    click(browser, "Revoke", "#phones-list")
    browser.wait(lambda: "refused within seconds" in browser.text("[role=dialog]"))
    click(browser, "Revoke", "[role=dialog]")
    browser.wait(lambda: "is revoked" in browser.text("#phones-told"))
    assert wait_until(lambda: push(settings, test_push("anna-1"), words=False)[0] == 403, 15)
    status, words = push(settings, test_push("anna-1"))
    assert (status, "was revoked" in words) == (499, True)
    browser.wait(lambda: "token revoked" in browser.text("#phones-list"))
    told = [(actor, action) for actor, action, subject in audit(cluster) if subject == "Anna’s phone"]
    assert told == [("admin", "token revoked"), ("admin", "phone connected")]


def test_a_new_code_replaces_the_old_one_in_a_day(connecting, browser, operator):
    """After a rotation both codes work, and the page says for how long."""
    let_in(browser, connecting, operator)
    browser.open(f"{connecting.url}/phones/connect")
    type_name(browser, "Ben")
    old = imported(scan(browser))["http"]
    browser.open(f"{connecting.url}/phones")
    click(browser, "New code", "#phones-list")
    browser.wait(lambda: browser.text("#connect-make") == "Make a new code")
    click(browser, "Make a new code")
    browser.wait(lambda: "stays valid for 24 h" in browser.text("#connect-result"))
    new = imported(scan(browser))["http"]
    assert old["authToken"] != new["authToken"]
    assert wait_until(lambda: push(new, test_push("ben-1"))[0] == 200, 15)
    assert push(old, test_push("ben-1"))[0] == 200


def test_a_name_is_taken_once(connecting, browser, operator):
    """What cannot be is told in a sentence, and the form stays."""
    let_in(browser, connecting, operator)
    for _ in range(2):
        browser.open(f"{connecting.url}/phones/connect")
        browser.wait(lambda: browser.text("#connect-make"))
        browser.driver.find_element("id", "connect-name").send_keys("Carla")
        browser.driver.find_element("id", "connect-make").click()
        browser.wait(lambda: browser.text("#connect-trouble") or browser.text("#connect-result"))
    assert "exists already" in browser.text("#connect-trouble")
    assert browser.text("#connect-make")


def test_what_is_said_of_a_phone_is_kept(dashboard, browser, recorder):
    """Name, platform and units are set in a dialog and shown on the card, with the battery that the phone told."""
    recorder.send([("battery", time.time(), {"batteryLevel": 0.42}), *motion(time.time() - 1, 1)])
    browser.open(f"{dashboard.url}/phones")
    browser.wait(lambda: "42 %" in browser.text("#phones-list"))
    assert "seems to be iOS" in browser.text("#phones-list")
    click(browser, "Edit", "#phones-list")
    browser.wait(lambda: browser.text("[role=dialog]"))
    field = browser.wait(lambda: browser.driver.find_elements("css selector", "[role=dialog] input"))[0]
    field.send_keys("Dora’s phone")
    click(browser, "Save", "[role=dialog]")
    browser.wait(lambda: "Dora’s phone" in browser.text("#phones-list"))
    assert browser.text("#phones-told") == "Saved."


def test_deleting_a_phone_asks_twice(dashboard, browser, recorder, cluster):
    """Everything that a phone has sent goes after two questions, and the audit log knows who did it."""
    recorder.send(motion(time.time() - 1, 1))
    browser.open(f"{dashboard.url}/phones")
    click(browser, "Delete", "#phones-list")
    click(browser, "Delete all of it …", "[role=dialog]")
    click(browser, "Delete for good", "[role=dialog]")
    browser.wait(lambda: "Deleted: 1 sessions, 1 messages" in browser.text("#phones-told"))
    browser.wait(lambda: "phone-1" not in browser.text("#phones-list"))
    assert audit(cluster)[0] == ("admin", "phone deleted", "phone-1")


ACTIONS = [
    ("connect-result.children", "connect-make", {"connect-name": "x", "connect-period": "200"}),
    ("connect-light.children", "connect-pulse", {"connect-token": "x"}),
    ("phones-told.children", {"action": "describe", "subject": "phone-1", "type": "phones-do"}, {"name": "x"}),
    ("phones-told.children", {"action": "revoke", "subject": "x", "type": "phones-do"}, {}),
    ("phones-told.children", {"action": "delete", "subject": "phone-1", "type": "phones-do"}, {}),
    ("phones-dialog.title", "phones-pressed", {"phones-pressed": {"action": "delete", "subject": "phone-1"}}),
]


@pytest.mark.parametrize("action", ACTIONS)
def test_viewers_change_nothing(dashboard, viewer, recorder, cluster, action):
    """The server refuses what the page does not offer."""
    recorder.send(motion(time.time() - 1, 1))
    before = audit(cluster)
    assert press(dashboard, viewer, *action).status == 403
    assert audit(cluster) == before


def test_viewers_are_offered_nothing(dashboard, browser, viewer, recorder):
    """A viewer sees the phones, and no button that would be refused."""
    recorder.send(motion(time.time() - 1, 1))
    let_in(browser, dashboard, viewer)
    browser.open(f"{dashboard.url}/phones")
    browser.wait(lambda: "phone-1" in browser.text("#phones-list"))
    assert browser.run("return document.querySelectorAll('#phones button, #phones .button-link').length") == 0
    browser.open(f"{dashboard.url}/phones/connect")
    browser.wait(lambda: "Only operators" in browser.text("#connect"))


def test_a_database_that_is_away_is_told(cluster, dashboard, browser, recorder):
    """While PostgreSQL is away the list stays and the page says so; it goes on by itself."""
    recorder.send(motion(time.time() - 1, 1))
    browser.open(f"{dashboard.url}/phones")
    browser.wait(lambda: "phone-1" in browser.text("#phones-list"))
    assert browser.text("#phones-notice") == ""
    cluster.stop()
    try:
        browser.wait(lambda: "database cannot be reached" in browser.text("#phones-notice"))
        assert "phone-1" in browser.text("#phones-list")
    finally:
        cluster.start()
    browser.wait(lambda: browser.text("#phones-notice") == "")
