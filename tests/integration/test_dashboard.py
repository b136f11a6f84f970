"""The dashboard on a real PostgreSQL, served by gunicorn and looked at with Chromium."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from prometheus_client import REGISTRY

from services.common.database import connect
from services.dashboard.chunks import chunk_of, merged_points
from services.dashboard.database import Database
from services.dashboard.live import Live
from services.dashboard.news import Ask
from services.dashboard.queries import Queries
from tests.integration.browser import Browser
from tests.integration.recordings import Recorder, motion, stream_connection
from tests.ports import free_ports

INGEST_URL = "https://sensors.example/sensor_data"
ODD_TEXT = 'start "of" run 🏃 <b id="injected">bold</b> & <script>window.injected = 1</script>'
ODD_SENSOR = 'flux "capacitor" <i>.{7}'


@pytest.fixture(scope="module")
def cluster(own_postgres):
    return own_postgres


@pytest.fixture(autouse=True)
def _empty_tables(cluster):
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute(
            "TRUNCATE device, session, series, message, window_1s, window_10s, window_60s, text_reading"
        )
        transaction.cursor().execute("TRUNCATE message_ledger, batch, partition_progress, quarantine")


@pytest.fixture
def writer(cluster):
    with stream_connection(cluster) as connection:
        yield connection


@pytest.fixture
def recorder(writer):
    return Recorder(writer)


@pytest.fixture
def queries(cluster):
    return Queries(Database(partial(connect, cluster.settings("dashboard"), "test", 5.0), 4))


@pytest.fixture(scope="module")
def dashboard(cluster, directory):
    """The address of a running dashboard."""
    port, metrics_port = free_ports(2)
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        **cluster.environment("dashboard"),
        "DASHBOARD_HOST": "127.0.0.1",
        "DASHBOARD_PORT": str(port),
        "DASHBOARD_METRICS_PORT": str(metrics_port),
        "INGEST_URL": INGEST_URL,
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:services.dashboard.gunicorn_conf"]
    with (directory / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "services.dashboard.wsgi:application"], env=environment, stdout=log, stderr=log
        )
    address = Address(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics")
    try:
        wait_for(lambda: address.status("/readyz") == 200, 60)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Address:
    """Where the dashboard answers."""

    def __init__(self, url, metrics_url):
        self.url = url
        self.metrics_url = metrics_url

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=15) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self, path):
        try:
            return self.get(path)[0]
        except OSError:
            return None


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    """The browser at its usual size; its console must stay free of complaints."""
    chromium.resize(1280, 900)
    chromium.errors()
    yield chromium
    assert chromium.errors() == []
    chromium.open("about:blank")


@contextlib.contextmanager
def sending(recorder, more=lambda _at: []):
    """A phone that sends 0.2 s of motion, and what `more` adds, five times a second until the end of the block."""
    ended = threading.Event()

    def send():
        while not ended.wait(0.2):
            at = time.time() - 0.2
            recorder.send(motion(at, 0.2) + more(at))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# --- queries ---------------------------------------------------------------------------------------------------------


def test_messages_beyond_a_cursor_come_once(queries, recorder, writer):
    """Every message is found by exactly one of two looks, whatever its readings' times and its partition."""
    now = time.time()
    recorder.send(motion(now, 1))
    session_id = queries.recent_sessions()[0].session_id
    first = queries.look(session_id, {}, 0, 0)
    recorder.send(motion(now - 7200, 1))
    other = Recorder(writer, partition=1)
    other.number = 2
    other.send(motion(now + 1, 1))
    second = queries.look(session_id, {0: 0}, 0, 0)
    assert [(row.partition, row.offset) for row in first.messages] == [(0, 0)]
    assert sorted((row.partition, row.offset) for row in second.messages) == [(0, 1), (1, 0)]
    assert (first.session.messages, second.session.messages) == (1, 3)
    assert {span.broker_us for span in queries.newest_spans(session_id)} == {
        row.broker_us for row in first.messages + second.messages
    }


def test_points_are_the_readings_that_were_sent(queries, recorder):
    """What the dashboard shows at full rate is every reading of the phone, to the digit that can be seen."""
    readings = motion(time.time() - 5, 2)
    recorder.send(readings[:60])
    recorder.send(readings[60:])
    session = queries.recent_sessions()[0]
    points = merged_points(chunk_of(row) for row in queries.look(session.session_id, {}, 0, 0).messages)
    shown = points["accelerometer"]
    assert shown.times == [pytest.approx(at * 1000, abs=0.06) for _, at, _ in readings]
    assert shown.channels["x"] == [pytest.approx(values["x"], rel=1e-6, abs=1e-9) for _, _, values in readings]


def test_windows_of_every_step_agree_with_the_readings(queries, recorder):
    """Mean, minimum and maximum are those of the readings, at stored resolutions and at steps merged from them."""
    start = time.time() // 120 * 120 - 600
    readings = [("s", start + second, {"v": (second * 37 % 100) / 7}) for second in range(240)]
    recorder.send(readings)
    session = queries.recent_sessions()[0]
    [series] = queries.series(session.session_id)
    for step in (1, 2, 10, 20, 60, 120):
        rows = queries.windows([series.series_id], step, start * 1000, (start + 240) * 1000)
        assert len(rows) == 240 // step
        for place, row in enumerate(rows):
            values = [values["v"] for _, _, values in readings[place * step : (place + 1) * step]]
            assert row.start_ms == (start + place * step) * 1000
            assert row.mean == pytest.approx(sum(values) / len(values), rel=1e-9)
            assert (row.min, row.max) == (min(values), max(values))


def test_series_tell_numbers_from_texts(queries, recorder):
    """A channel is known to have numbers, texts or both."""
    at = time.time()
    recorder.send([("s", at, {"n": 1, "t": "a", "b": 1}), ("s", at + 1, {"b": "two"})])
    session = queries.recent_sessions()[0]
    kinds = {row.channel: (row.has_numbers, row.has_texts) for row in queries.series(session.session_id)}
    assert kinds == {"n": (True, False), "t": (False, True), "b": (True, True)}


def test_texts_are_told_where_they_change(queries, recorder):
    """Of a state the changes come, with the state before the span; of happenings all; none longer than asked for."""
    at = time.time() - 100
    texts = ["a", "a", "b", "b", "b", "c" * 50, "c" * 50]
    recorder.send([("s", at + place, {"t": text}) for place, text in enumerate(texts)])
    session = queries.recent_sessions()[0]
    [series] = queries.series(session.session_id)

    def told(is_event, from_s):
        rows = queries.text_changes({series.series_id: is_event}, (at + from_s) * 1000, (at + 99) * 1000, 5)
        return [(round(row.time_ms / 1000 - at), row.value) for row in rows]

    assert told(False, -1) == [(0, "a"), (2, "b"), (5, "ccccc")]
    assert told(False, 2.5) == [(2, "b"), (5, "ccccc")]
    assert told(True, 4.5) == [(4, "b"), (5, "ccccc"), (6, "ccccc")]


def test_whole_text_is_found_by_its_time(queries, recorder):
    """A picture is fetched whole by its sensor, channel and time."""
    at = time.time()
    recorder.send([("camera", at, {"image": "x" * 5000}), ("camera", at + 0.001, {"image": "y" * 5000})])
    session_id = queries.recent_sessions()[0].session_id
    assert queries.text_at(session_id, "camera", "image", round(at * 1000 + 1, 1)) == "y" * 5000
    assert queries.text_at(session_id, "camera", "image", at * 1000 + 50) is None


def test_dashboard_cannot_write(cluster):
    """Its connections are read-only, whatever the role may do."""
    database = Database(partial(connect, cluster.settings("dashboard"), "test"), 1)
    with pytest.raises(Exception, match="read-only"):
        database.rows("q", "UPDATE device SET name = 'x' RETURNING 1")
    assert database.rows("q", "SELECT 1") == [(1,)]


def test_viewers_of_one_session_share_their_queries(queries, recorder):
    """Ten viewers who ask at the same time cost one look for new messages."""
    recorder.send(motion(time.time() - 1, 1))
    live = Live(queries)
    live.answer(Ask())
    before = count_of("look")
    time.sleep(0.25)  # the time during which viewers share is over
    with ThreadPoolExecutor(10) as viewers:
        answers = list(viewers.map(lambda _: live.answer(Ask()), range(10)))
    assert {len(answer.news.points["accelerometer"]["t"]) for answer in answers} == {50}
    assert count_of("look") - before == 1


def count_of(query):
    return REGISTRY.get_sample_value("dashboard_query_seconds_count", {"query": query}) or 0


# --- the page --------------------------------------------------------------------------------------------------------


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
        status, body = dashboard.get("/readyz")
        assert (status, json.loads(body)["status"]) == (503, "not ready")
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
    with urllib.request.urlopen(dashboard.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    assert 'dashboard_callback_seconds_count{callback="news"}' in text
    assert 'dashboard_query_seconds_count{query="look"}' in text


# --- the page's script -----------------------------------------------------------------------------------------------


@pytest.fixture
def script(dashboard, chromium):
    """Runs a function body with the script's `readings` at hand."""
    if not chromium.run("return Boolean(window.readings)"):
        chromium.open(dashboard.url)
    return lambda body, *arguments: chromium.run(f"const readings = window.readings; {body}", *arguments)


def test_points_find_their_place_and_go_when_old(script):
    """Late points are sorted in with their channels, and old ones are forgotten."""
    shown = script(
        """const points = new readings.Points();
           points.add({t: [0, 20], c: {x: [1, 3]}}, 1000);
           points.add({t: [10], c: {y: [7]}}, 1000);
           points.trim(1005);
           return [points.times, points.of("x"), points.of("y")]"""
    )
    assert shown == [[1010, 1020], {"x": [1020], "y": [3]}, {"x": [1010], "y": [7]}]


def test_window_that_comes_again_replaces_itself(script):
    """A window is held once, with its newest values, in the order of time."""
    shown = script(
        """const windows = new readings.Windows();
           windows.add([[0, 1, 0, 2], [2000, 5, 5, 5]], 0);
           windows.add([[1000, 3, 3, 3], [0, 9, 8, 10]], 0);
           return [windows.x, windows.mean, windows.max]"""
    )
    assert shown == [[0, 1000, 2000], [9, 3, 5], [10, 3, 5]]


def test_missing_data_breaks_the_line(script):
    """A line has a break where readings or windows are missing, and none where a sensor is only slow."""
    x = [*range(0, 1000, 10), *range(1500, 2500, 10)]
    breaks = """const line = readings.withGaps(arguments[0], arguments[0], arguments[1], 0);
                return line.y.filter((value) => value === null).length"""
    assert script(breaks, x, script("return readings.gapOfReadings(arguments[0])", x)) == 1
    slow = list(range(0, 600_000, 60_000))
    assert script(breaks, slow, script("return readings.gapOfReadings(arguments[0])", slow)) == 0
    assert (
        script(breaks, [0, 1000, 3000, 4000], script("return readings.gapOfWindows([0, 1000, 3000, 4000], 1, 100)"))
        == 1
    )
    assert script(breaks, slow, script("return readings.gapOfWindows(arguments[0], 1, 1 / 60)", slow)) == 0


def test_thinned_line_keeps_every_peak_and_gap(script):
    """Fewer points are drawn than there are, but the highest, the lowest and each gap stay."""
    y = [place % 7 for place in range(1000)]
    y[413], y[414], y[700] = 99, -99, None
    thin = script("return readings.thinned({x: arguments[0], y: arguments[1]}, 50)", list(range(1000)), y)
    assert len(thin["x"]) < 50
    assert thin["x"] == sorted(thin["x"])
    assert {99, -99, None} <= set(thin["y"])


def test_band_is_closed_on_each_side_of_a_gap(script):
    """The band of a stretch goes along its maxima and back along its minima, and does not cross a gap."""
    outline = script(
        """const windows = new readings.Windows();
           windows.add([[0, 1, 0, 2], [1000, 1, -1, 3], [9000, 1, 0, 1]], 0);
           return readings.band(windows, 1500, 0)"""
    )
    assert outline["x"] == [0, 1000, 1000, 0, None, 9000, 9000]
    assert outline["y"] == [2, 3, -1, 0, None, 1, 0]


def test_texts_are_changes_and_events_are_all_kept(script):
    """A state that is told again is no news; an event that repeats is."""
    rows = [[1, "t", "a"], [2, "t", "a"], [3, "t", "b"], [3, "t", "b"]]
    body = """const texts = new readings.Texts(9, arguments[1]);
              texts.add(arguments[0]);
              texts.add(arguments[0]);
              return texts.rows"""
    assert [row[0] for row in script(body, rows, False)] == [1, 3]
    assert [row[0] for row in script(body, rows[:3], True)] == [1, 2, 3]


def test_texts_remember_what_they_no_longer_list(script):
    """A state whose row is no longer kept is still no news when it is told again."""
    rows = script(
        """const texts = new readings.Texts(2, false);
           texts.add([[1, "a", "same"], [2, "b", "1"], [3, "b", "2"]]);
           texts.add([[4, "a", "same"]]);
           return [texts.rows, texts.newest]"""
    )
    assert rows == [[[2, "b", "1"], [3, "b", "2"]], {"a": "same", "b": "2"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (-0.30001, "−0.300"),
        (9.81234, "9.81"),
        (1013.25, "1013.3"),
        (1e-7, "1.00e−7"),
        (42, "42"),
    ],
)
def test_figures_can_be_read(script, value, text):
    """Values have the digits that a person can follow."""
    assert script("return readings.figure('x', arguments[0])", value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0.0 s"),
        (1234, "1.2 s"),
        (42_000, "42 s"),
        (300_000, "5 min"),
        (10_800_000, "3 h"),
        (864_000_000, "10 days"),
    ],
)
def test_durations_are_short(script, ms, text):
    """Ages and lengths are told as a person would."""
    assert script("return readings.duration(arguments[0])", ms) == text


def test_way_is_in_metres(script):
    """A thousandth of a degree north is 111 m anywhere; east it is less, away from the equator."""
    way = script("return readings.inMetres([60, 60.001], [10, 10.001])")
    assert way["y"] == [pytest.approx(-111.3, abs=0.1), 0]
    assert way["x"] == [pytest.approx(-55.7, abs=0.1), 0]


# --- the process -----------------------------------------------------------------------------------------------------


def test_missing_setting_is_one_clear_line():
    """Without its settings the dashboard does not start, and says in one line what is missing."""
    command = [sys.executable, "-m", "gunicorn", "--config", "python:services.dashboard.gunicorn_conf"]
    result = subprocess.run(
        [*command, "services.dashboard.wsgi:application"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert result.returncode != 0
    assert (
        result.stderr.decode().strip()
        == "DATABASE_HOST is not set: host name of PostgreSQL, as its certificate names it"
    )
