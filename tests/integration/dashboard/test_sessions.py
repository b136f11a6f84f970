"""Sessions: finding them, what is missing of them, and what operators do to them."""

import time

import pytest

from tests.integration.dashboard.served import let_in, press
from tests.integration.dashboard.test_phones import audit, click
from tests.integration.recordings import Recorder, motion


def listed(browser):
    """The names of the sessions in the list, from above."""
    return browser.run(
        "return [...document.querySelectorAll('#sessions-list tbody strong')].map((one) => one.textContent)"
    )


def cells(browser):
    """The first session's cells by the names of their columns."""
    return browser.run(
        """const row = document.querySelector('#sessions-list tbody tr');
           const cells = [...(row?.children ?? [])];
           return Object.fromEntries(cells.map((cell) => [cell.dataset.name, cell.innerText.trim()]))"""
    )


def test_what_is_missing_is_told(dashboard, browser, recorder):
    """A session's row counts its messages, those that never came and those that came twice; its details say which."""
    at = time.time() - 60
    for number in (0, 1, 2, 5, 6, 9):
        recorder.number = number
        once = [("Abc", at, {"value": 1})] if number == 0 else []
        recorder.send(once + motion(at + number, 1))
    recorder.number = 2
    recorder.send(motion(at + 2, 1))
    browser.open(f"{dashboard.url}/sessions")
    browser.wait(lambda: cells(browser).get("Received") == "6")
    row = cells(browser)
    assert (row["Missing"], row["Duplicate"], row["Quarantined"]) == ("4", "1", "0")
    assert (row["Length"], row["Sensors"]) == ("10 s", "Acceleration 50 Hz ± 0.0 ms\nAbc –")  # by rate
    click(browser, "Details", "#sessions-list")
    words = browser.wait(lambda: (text := browser.text("[role=dialog]")) and "Jitter" in text and text)
    assert "4 messages: 3-4, 7-8" in words
    assert "50 Hz" in words


def test_sessions_are_found_and_sorted(dashboard, browser, writer):
    """The search looks at phones, names and ids, on the server; the order is chosen."""
    at = time.time() - 600
    for place, (device, session, seconds) in enumerate([("a", "short", 1), ("b", "long", 30), ("a", "middle", 10)]):
        Recorder(writer, f"phone-{device}", session).send(motion(at + place, seconds, 5))
    browser.open(f"{dashboard.url}/sessions")
    browser.wait(lambda: listed(browser) == ["Phone phone-a", "Phone phone-b", "Phone phone-a"])
    browser.open(f"{dashboard.url}/sessions?q=phone-b")
    browser.wait(lambda: listed(browser) == ["Phone phone-b"])
    assert "1 session with “phone-b”" in browser.text("#sessions-count")
    browser.open(f"{dashboard.url}/sessions?q=100%25_")
    browser.wait(lambda: "Nothing fits" in browser.text("#sessions-list"))


def test_many_sessions_come_in_pages(dashboard, browser, writer):
    """More sessions than a page holds are paged through on the server."""
    at = time.time() - 600
    for place in range(27):
        Recorder(writer, "phone-1", f"session-{place:02}").send(motion(at + place, 1, 2))
    browser.open(f"{dashboard.url}/sessions")
    browser.wait(lambda: len(listed(browser)) == 25)
    assert "27 sessions" in browser.text("#sessions-count")
    click(browser, "2", "#sessions")
    browser.wait(lambda: len(listed(browser)) == 2)


def test_a_session_gets_name_and_notes(dashboard, browser, recorder, cluster):
    """What an operator writes is shown and found."""
    recorder.send(motion(time.time() - 1, 1))
    browser.open(f"{dashboard.url}/sessions")
    click(browser, "Edit", "#sessions-list")
    name = browser.wait(lambda: browser.driver.find_elements("css selector", "[role=dialog] input"))[0]
    name.send_keys("Morning walk")
    browser.driver.find_element("css selector", "[role=dialog] textarea").send_keys("in <b>rain</b>")
    click(browser, "Save", "[role=dialog]")
    browser.wait(lambda: listed(browser) == ["Morning walk"])
    browser.open(f"{dashboard.url}/sessions?q=RAIN")
    browser.wait(lambda: listed(browser) == ["Morning walk"])
    click(browser, "Details", "#sessions-list")
    browser.wait(lambda: "in <b>rain</b>" in browser.text("[role=dialog]"))
    assert audit(cluster)[0] == ("admin", "session described", "session-1")


def test_deleting_a_session_asks_twice(dashboard, browser, recorder, cluster):
    """A session goes after two questions, from every page, and the audit log knows who did it."""
    recorder.send(motion(time.time() - 1, 1))
    browser.open(f"{dashboard.url}/sessions")
    click(browser, "Delete", "#sessions-list")
    click(browser, "Delete all of it …", "[role=dialog]")
    click(browser, "Delete for good", "[role=dialog]")
    browser.wait(lambda: "Deleted: 1 sessions, 1 messages, 50 readings" in browser.text("#sessions-told"))
    browser.wait(lambda: "Nothing has been recorded" in browser.text("#sessions-list"))
    assert audit(cluster)[0] == ("admin", "session deleted", "session-1 of phone-1")


@pytest.mark.parametrize(
    "action",
    [
        ("sessions-told.children", {"action": "delete", "subject": "1", "type": "sessions-do"}, {}),
        ("sessions-told.children", {"action": "describe", "subject": "1", "type": "sessions-do"}, {"name": "x"}),
        ("sessions-dialog.title", "sessions-pressed", {"sessions-pressed": {"action": "describe", "subject": "1"}}),
    ],
)
def test_viewers_change_nothing(dashboard, viewer, cluster, action):
    """The server refuses what the page does not offer."""
    before = audit(cluster)
    assert press(dashboard, viewer, *action).status == 403
    assert audit(cluster) == before


def test_viewers_may_look_at_details(dashboard, browser, viewer, recorder):
    """A viewer opens the details of a session, and is offered no change."""
    recorder.send(motion(time.time() - 1, 1))
    let_in(browser, dashboard, viewer)
    browser.open(f"{dashboard.url}/sessions")
    click(browser, "Details", "#sessions-list")
    browser.wait(lambda: "Jitter" in browser.text("[role=dialog]"))
    buttons = browser.run(
        "return [...document.querySelectorAll('#sessions-list button')].map((one) => one.textContent)"
    )
    assert buttons == ["Details"]


def test_a_database_that_is_away_is_told(cluster, dashboard, browser, recorder):
    """While PostgreSQL is away the list stays and the page says so; it goes on by itself."""
    recorder.send(motion(time.time() - 1, 1))
    browser.open(f"{dashboard.url}/sessions")
    browser.wait(lambda: listed(browser) == ["Phone phone-1"])
    cluster.stop()
    try:
        browser.wait(lambda: "database cannot be reached" in browser.text("#sessions-count"))
        assert listed(browser) == ["Phone phone-1"]
    finally:
        cluster.start()
    browser.wait(lambda: browser.text("#sessions-count") == "1 session")
