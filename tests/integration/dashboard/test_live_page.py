"""The Live page, looked at with Chromium."""

import threading
import time

import pytest

from tests.integration.dashboard.served import INGEST_URL, sending
from tests.integration.recordings import Recorder, motion, stream_connection

ODD_TEXT = 'start "of" run 🏃 <b id="injected">bold</b> & <script>window.injected = 1</script>'
ODD_SENSOR = 'flux "capacitor" <i>.{7}'


def newest_x(browser, sensor="accelerometer"):
    """Time of the newest point that the sensor's chart shows, in ms; None while there is none."""
    return browser.run(
        """const graph = [...document.querySelectorAll("[data-sensor]")]
             .find((card) => card.dataset.sensor === arguments[0])?.querySelector(".js-plotly-plot");
           const x = graph?.data?.[1]?.x;
           return x && x.length ? x[x.length - 1] : null;""",
        sensor,
    )


def test_empty_state_says_how_to_begin(dashboard, browser, recorder):
    """Without any recording the page names the address to push to, and the first message shows without a reload."""
    browser.open(dashboard.url)
    browser.wait(lambda: "No phone has sent anything yet" in browser.text("#empty"))
    assert INGEST_URL in browser.text("#empty")
    browser.run("window.loadedOnce = true")
    with sending(recorder):
        browser.wait(lambda: newest_x(browser))
    assert browser.run("return window.loadedOnce")
    assert browser.text("#empty") == ""


def test_chart_moves_without_a_reload(dashboard, browser, recorder):
    """The chart gets new points at least once a second while whole figures are never sent again."""
    with sending(recorder):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
        browser.run("window.loadedOnce = true; performance.clearResourceTimings()")
        seen = [browser.wait(lambda: newest_x(browser))]
        started = time.monotonic()
        for _ in range(10):
            seen.append(browser.wait(lambda: (now := newest_x(browser)) and now > seen[-1] and now))
        seconds = time.monotonic() - started
        sizes = browser.run(
            """return performance.getEntriesByType("resource")
                 .filter((entry) => entry.name.includes("_dash-update-component"))
                 .map((entry) => entry.decodedBodySize)"""
        )
    assert seconds < 10
    assert browser.run("return window.loadedOnce")
    assert max(sizes) < 8_000


def test_age_ignores_the_browsers_clock(dashboard, browser, recorder):
    """The age of the newest reading is right in a browser whose clock is an hour behind."""
    wrong = "const right = Date.now; Date.now = () => right() - 3600000;"
    script = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": wrong})
    try:
        with sending(recorder):
            browser.open(dashboard.url)
            browser.wait(lambda: newest_x(browser))
            assert browser.run("return document.querySelector('#age').dataset.level") == "green"
        browser.wait(lambda: browser.run("return document.querySelector('#age').dataset.level") == "amber")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_any_sensor_gets_a_card_and_text_stays_text(dashboard, browser, recorder):
    """A sensor that nobody knew gets its card while the page is open; names and texts are shown as they are."""
    arrived = threading.Event()

    def more(at):
        return [(ODD_SENSOR, at, {"charge": 1.21, "note": ODD_TEXT})] if arrived.is_set() else []

    with sending(recorder, more):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
        arrived.set()
        browser.wait(lambda: newest_x(browser, ODD_SENSOR))
        words = browser.wait(lambda: (text := browser.text("#cards")) and "bold" in text and text)
    assert ODD_TEXT in words
    assert f"F{ODD_SENSOR[1:]}" in words
    assert "1.21" in words
    assert browser.run("return [window.injected ?? null, document.getElementById('injected')]") == [None, None]


def test_link_keeps_recording_and_range(dashboard, browser, writer):
    """The address names what is chosen; opened later it shows the same, and says that the recording has ended."""
    old, new = Recorder(writer, "old-phone", "old-session"), Recorder(writer, "new-phone", "new-session")
    ended = time.time() - 3 * 3600
    for second in range(3):
        old.send(motion(ended + second, 1), broker_time=ended + second + 1)
    with sending(new):
        browser.wait(lambda: chosen_by_itself(dashboard, browser).startswith("?device=new-phone"))
        browser.open(f"{dashboard.url}/?device=old-phone&session=old-session&range=2m")
        browser.wait(lambda: "ended 3 h ago" in browser.text("#notice"))
        browser.wait(lambda: newest_x(browser))
        assert browser.run("return document.querySelector('#age').dataset.level") == "red"
        assert "range=2m" in browser.run("return location.search")
        browser.wait(lambda: "being recorded now" in browser.text("#notice"))
        browser.run("document.getElementById('notice-button').click()")
        browser.wait(lambda: "device=new-phone&session=new-session&range=2m" in browser.run("return location.search"))
        browser.wait(lambda: browser.text("#notice") == "" and newest_x(browser))


def chosen_by_itself(dashboard, browser):
    """The address that a page opened without a link gives itself: at first perhaps of a recording deleted just now."""
    browser.open(dashboard.url)
    return browser.wait(lambda: browser.run("return location.search"))


def test_unknown_link_says_so(dashboard, browser, recorder):
    """A link to a recording that is not there is answered in words."""
    recorder.send(motion(time.time(), 1))
    browser.open(f"{dashboard.url}/?device=nobody&session=nothing")
    browser.wait(lambda: "This recording is not here" in browser.text("#unknown"))


@pytest.mark.parametrize("name", ["2m", "10m", "1h", "session"])
def test_longer_ranges_show_windows_and_move(dashboard, browser, recorder, name):
    """Every range shows means with their band, and goes on with the recording."""
    start = time.time() - 90
    for second in range(0, 90, 2):
        recorder.send(motion(start + second, 2, 10))
    with sending(recorder):
        browser.open(f"{dashboard.url}/?range={name}")
        first = browser.wait(lambda: newest_x(browser))
        band = "return document.querySelector('.js-plotly-plot').data[0].x.length"
        assert browser.run(band) > 0
        before = browser.text('[data-part="value"]')
        browser.wait(lambda: browser.text('[data-part="value"]') != before)
        if name in ("2m", "10m"):
            browser.wait(lambda: newest_x(browser) > first)


def test_page_outlives_the_database(cluster, dashboard, browser, recorder):
    """While PostgreSQL is away the page says so and keeps its charts; when it is back the page goes on by itself."""
    with sending(recorder):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
    browser.run("window.loadedOnce = true")
    cluster.stop()
    try:
        browser.wait(lambda: "database cannot be reached" in browser.text("#notice"))
        browser.draw_again()
        shown = newest_x(browser)
        ready = dashboard.ask("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (503, "not ready")
        assert dashboard.status("/livez") == 200
    finally:
        cluster.start()
    with stream_connection(cluster) as connection:
        again = Recorder(connection)
        again.number = recorder.number
        with sending(again):
            browser.wait(lambda: newest_x(browser) > shown and browser.text("#notice") == "")
    assert shown
    assert browser.run("return window.loadedOnce")


def test_hidden_tab_asks_nothing(dashboard, browser, recorder):
    """A tab that nobody sees sends no requests, and goes on when it is seen again."""
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true})"
    asked = """return performance.getEntriesByType("resource")
                 .filter((entry) => entry.name.includes("_dash-update-component")).length"""
    with sending(recorder):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
        browser.run(hide, True)
        time.sleep(1)  # answers under way arrive
        before = browser.run(asked)
        assert before > 0
        time.sleep(2)
        assert browser.run(asked) == before
        browser.run(hide + "; document.dispatchEvent(new Event('visibilitychange'))", False)
        browser.wait(lambda: browser.run(asked) > before + 2)


def test_page_needs_no_other_host(dashboard, browser, recorder):
    """Everything the page loads comes from the dashboard itself."""
    with sending(recorder, lambda at: [("location", at, {"latitude": 51.5 + at % 1 / 1000, "longitude": -0.12})]):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
    names = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in names if not name.startswith((dashboard.url, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [360, 1440])
def test_page_fits_its_screen(dashboard, browser, recorder, width):
    """Nothing sticks out sideways, on a phone as on a desk."""
    browser.resize(width, 800)
    with sending(
        recorder, lambda at: [(ODD_SENSOR, at, {"aVeryLongChannelNameWithoutAnySpaceInIt": at, "note": "x" * 200})]
    ):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser) and newest_x(browser, ODD_SENSOR))
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_metrics_tell_times_by_name(dashboard, browser, recorder):
    """Callbacks and queries are timed under their names."""
    with sending(recorder):
        browser.open(dashboard.url)
        browser.wait(lambda: newest_x(browser))
    assert dashboard.metric('dashboard_callback_seconds_count{callback="news"}') > 0
    assert dashboard.metric('dashboard_query_seconds_count{query="look"}') > 0
