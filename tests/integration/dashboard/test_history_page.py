"""The History page in a browser: zooming, comparing, what is missing, and exports that are read back."""

import csv
import io
import json
import time
import zipfile

import pyarrow.parquet as pq
import pytest

from tests.integration.dashboard.served import sending
from tests.integration.recordings import Recorder, motion

pytestmark = pytest.mark.usefixtures("recording")
HOUR = 3600
SHOWN = """const graph = document.querySelector("#history-graph .js-plotly-plot");
const facts = window.historyPage?.facts();
if (!facts || !graph?.data || document.querySelector("#history")?.dataset.busy) return null;
return {...facts, lines: graph.data.filter((trace) => trace.name).map((trace) => trace.name),
        points: graph.data.filter((trace) => trace.name).map((trace) => trace.x.length),
        shades: (graph.layout.shapes || []).filter((shape) => shape.type === "rect").length,
        marks: (graph.layout.shapes || []).filter((shape) => shape.type === "line").length};"""


def shown(browser, condition=lambda _facts: True):
    """What the page shows, once it does and fulfils the condition."""
    return browser.wait(lambda: (facts := browser.run(SHOWN)) and condition(facts) and facts)


@pytest.fixture
def recording(recorder):
    """Two minutes of motion that ended a while ago, with a hole of five messages, texts and an annotation."""
    start = float(int(time.time() - HOUR))
    for second in range(120):
        if 60 <= second < 65:
            recorder.number += 1
            continue
        more = [("activity", start + second, {"activity": "walking" if second < 50 else "running"})]
        if second == 30:
            more.append(("annotation", start + second + 0.5, {"text": 'turn "left" <b>'}))
        recorder.send(motion(start + second, 1) + more, broker_time=start + second + 1)
    return start


def test_whole_recording_then_every_reading(dashboard, browser, recording):
    """A recording is shown whole in windows; zoomed in far enough every reading is drawn, and the address keeps it."""
    browser.open(f"{dashboard.url}/history")
    whole = shown(browser)
    assert whole["step"] == 1
    assert set(whole["lines"]) == {"x", "y", "z"}
    assert whole["marks"] == 1
    browser.run(
        """window.dash_clientside.history.zoom({"xaxis.range[0]": new Date(arguments[0]).toISOString().slice(0, 23),
             "xaxis.range[1]": new Date(arguments[0] + 10000).toISOString().slice(0, 23)})""",
        (recording + 10) * 1000,
    )
    near = shown(browser, lambda facts: facts["step"] == 0)
    assert near["view"] == [pytest.approx((recording + 10) * 1000), pytest.approx((recording + 20) * 1000)]
    assert max(near["points"]) == pytest.approx(501, abs=1)
    assert f"from={round((recording + 10) * 1000)}" in browser.run("return location.search")
    browser.run("history.back()")
    assert shown(browser, lambda facts: facts["step"] == 1)["view"] == whole["view"]


def test_missing_messages_are_shaded_and_counted(dashboard, browser):
    """A hole is a shade with the number of its messages, and the words below name it."""
    browser.open(f"{dashboard.url}/history")
    assert shown(browser)["shades"] == 1
    assert "5 messages missing here, in 1 place" in browser.text("#history-words")
    browser.run("document.querySelector('.missing').open = true")
    assert "60 to 64" in browser.text("#history-words")


def test_statistics_are_those_of_the_readings(dashboard, browser):
    """Count, mean and extremes of what is shown agree with what was sent."""
    browser.open(f"{dashboard.url}/history")
    shown(browser)
    rows = browser.run(
        """return [...document.querySelectorAll("#history-words [aria-label=Statistics] tbody tr")]
             .map((row) => [...row.children].map((cell) => cell.textContent))"""
    )
    [y] = [row for row in rows if row[1] == "y" and row[0] == "Acceleration"]
    assert y[2:7] == ["5,750", "0.5000", "0", "0.5000", "0.5000"]


def test_buttons_move_and_keys_reach_them(dashboard, browser):
    """Everything that dragging does can be done by buttons, and those by the keyboard."""
    browser.open(f"{dashboard.url}/history")
    whole = shown(browser)
    browser.run("document.querySelector('[data-go=in]').focus()")
    browser.press_enter()
    closer = shown(browser, lambda facts: facts["id"] > whole["id"])
    length = whole["view"][1] - whole["view"][0]
    assert closer["view"][1] - closer["view"][0] == pytest.approx(length / 2, rel=0.01)
    browser.run("document.querySelector('[data-span=all]').click()")
    assert shown(browser, lambda facts: facts["id"] > closer["id"])["view"] == whole["view"]


def test_recordings_are_compared_from_their_starts(dashboard, browser, writer, recording):
    """Two recordings on one axis that begins at zero, each with lines of its own."""
    other = Recorder(writer, session="session-2")
    for second in range(60):
        other.send(motion(recording + 1000 + second, 1), broker_time=recording + 1000 + second)
    browser.open(f"{dashboard.url}/history?device=phone-1&session=session-1&session=session-2&aligned=1")
    facts = shown(browser)
    assert facts["aligned"]
    assert facts["view"][0] == 0
    assert len(facts["lines"]) == 6


def test_unknown_recording_and_empty_span_say_so(dashboard, browser):
    """A link to what is not there, and a span in which nothing was recorded, are answered in words."""
    browser.open(f"{dashboard.url}/history?device=nobody")
    browser.wait(lambda: "is not here" in browser.text("#history-notice"))
    browser.open(f"{dashboard.url}/history?device=phone-1&from=1000&until=2000")
    browser.wait(lambda: "Nothing was recorded in this span" in browser.text("#history-notice"))


def test_page_outlives_the_database(cluster, dashboard, browser):
    """While PostgreSQL is away the page says so and keeps its chart; when it is back it goes on by itself."""
    browser.open(f"{dashboard.url}/history")
    before = shown(browser)
    cluster.stop()
    try:
        browser.run("document.querySelector('[data-go=in]').click()")
        browser.wait(lambda: "database cannot be reached" in browser.text("#history-notice"))
        assert browser.run("return document.querySelector('#history-graph .js-plotly-plot').data.length") > 0
    finally:
        cluster.start()
    shown(browser, lambda facts: facts["id"] > before["id"] and facts["state"] == "seen")
    browser.wait(lambda: browser.text("#history-notice") == "")


# --- exports ---------------------------------------------------------------------------------------------------------


def exported(dashboard, cookie, **order):
    """The name and the bytes of an export, as a page orders and fetches it."""
    answer = dashboard.ask("POST", "/exports", json.dumps(order), cookie, Content_Type="application/json").json
    deadline = time.monotonic() + 60
    while answer["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        answer = dashboard.ask("GET", f"/exports/{answer['id']}", cookie=cookie).json
    assert answer["state"] == "done", answer
    return answer, dashboard.fetch(f"/exports/{answer['id']}/file", cookie)


def test_whole_recording_is_exported_as_the_app_does(dashboard, operator, recording):
    """A zip with a CSV per sensor holds every reading that was sent, to the last digit, and names what is missing."""
    order = {"what": "session", "format": "csv", "device": "phone-1", "sessions": ["session-1"]}
    answer, content = exported(dashboard, operator, **order)
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert {"Accelerometer.csv", "Activity.csv", "Annotation.csv", "Metadata.csv", "Missing.csv"} == set(
        archive.namelist()
    )
    rows = table(archive.read("Accelerometer.csv"))
    sent = [one for second in range(120) if not 60 <= second < 65 for one in motion(recording + second, 1)]
    assert [int(row["time"]) for row in rows] == [round(at * 1e9) for _, at, _ in sent]
    assert [float(row["x"]) for row in rows] == [values["x"] for _, _, values in sent]
    assert float(rows[-1]["seconds_elapsed"]) == pytest.approx(119.98, abs=0.001)
    assert table(archive.read("Annotation.csv"))[0]["text"] == 'turn "left" <b>'
    [gap] = table(archive.read("Missing.csv"))
    assert (gap["messages"], gap["first_number"], gap["last_number"]) == ("5", "60", "64")
    assert answer["missing"] == 5


def test_parquet_has_the_same_readings_with_their_types(dashboard, operator):
    """The Parquet of a sensor has times in ns, numbers as numbers and texts as texts."""
    order = {"what": "session", "format": "parquet", "device": "phone-1", "sessions": ["session-1"]}
    _, content = exported(dashboard, operator, **order)
    archive = zipfile.ZipFile(io.BytesIO(content))
    motion_table = pq.read_table(io.BytesIO(archive.read("Accelerometer.parquet")))
    assert motion_table.num_rows == 115 * 50
    assert [str(motion_table.schema.field(name).type) for name in ("time", "x")] == ["timestamp[ns, tz=UTC]", "double"]
    activities = pq.read_table(io.BytesIO(archive.read("Activity.parquet")))["activity"].to_pylist()
    assert set(activities) == {"walking", "running"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_shown_is_exported(dashboard, operator, form):
    """The windows of a span: their counts are those of the readings, and the hole is named in its row."""
    order = {"what": "seen", "format": form, "device": "phone-1", "sensors": ["accelerometer"]}
    answer, content = exported(dashboard, operator, **order)
    rows = table(content) if form == "csv" else pq.read_table(io.BytesIO(content)).to_pylist()
    lines = [row for row in rows if row["channel"] == "x"]
    assert sum(int(row["readings"]) for row in lines) == 115 * 50
    assert [int(row["missing_messages"]) for row in lines if int(row["missing_messages"])] == [5]
    assert answer["missing"] == 5


def test_short_span_is_exported_reading_by_reading(dashboard, operator, recording):
    """Where the page draws every reading, the export has every reading."""
    span = {"from": (recording + 10) * 1000, "until": (recording + 11) * 1000}
    order = {"what": "seen", "format": "csv", "device": "phone-1", "sensors": ["accelerometer", "activity"], **span}
    _, content = exported(dashboard, operator, **order)
    rows = table(content)
    assert sum(row["channel"] == "x" for row in rows) == pytest.approx(51, abs=1)
    assert {row["text"] for row in rows if row["sensor"] == "activity"} == {"walking"}


def test_exports_are_for_who_ordered_them(dashboard, operator, viewer):
    """Another person gets neither progress nor file; nonsense is refused; nothing to export is said in words."""
    order = {"what": "seen", "format": "csv", "device": "phone-1"}
    answer, _ = exported(dashboard, operator, **order)
    assert dashboard.ask("GET", f"/exports/{answer['id']}", cookie=viewer).status == 404
    assert dashboard.ask("GET", f"/exports/{answer['id']}/file", cookie=viewer).status == 404
    assert dashboard.ask("GET", f"/exports/{answer['id']}/file").status in (302, 401)
    bad = dashboard.ask("POST", "/exports", '{"what": "all"}', operator, Content_Type="application/json")
    assert bad.status == 400
    started = dashboard.ask(
        "POST", "/exports", json.dumps({**order, "device": "nobody"}), operator, Content_Type="application/json"
    ).json
    deadline = time.monotonic() + 30
    while (now := dashboard.ask("GET", f"/exports/{started['id']}", cookie=operator).json)["state"] != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert now["error"] == "There are no readings in this span."


def test_export_dialog_saves_a_file(dashboard, browser, tmp_path):
    """From the page: choose, watch, and the file lies in the downloads."""
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.open(f"{dashboard.url}/history")
    shown(browser)
    browser.run("document.getElementById('history-export').click()")
    browser.run("document.querySelector('.order[data-what=session][data-format=csv]').click()")
    browser.wait(lambda: "is being saved. 5 messages are missing" in browser.text("#export-words"))
    [saved] = browser.wait(lambda: list(tmp_path.glob("*.zip")))
    assert "Accelerometer.csv" in zipfile.ZipFile(saved).namelist()


def test_running_recording_is_shown(dashboard, browser, recorder):
    """History shows what is being recorded too."""
    with sending(recorder):
        browser.open(f"{dashboard.url}/history")
        assert "running" in shown(browser)["sessions"][0]["label"]


def table(content):
    return list(csv.DictReader(io.StringIO(content.decode())))
