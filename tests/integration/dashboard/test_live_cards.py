"""What the cards of the Live page hold beside lines: a body, states, annotations, pictures; and their choice."""

import math
import time

import pytest

from tests.integration.dashboard.served import sending
from tests.integration.recordings import Recorder, stream_connection

PICTURE = (
    "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgy"
    "PC4zNDL/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AVN//2Q=="
)
HALF = math.sqrt(0.5)


def more(at):
    """Readings of every kind of card, five times a second."""
    state = "walking" if int(at) % 10 < 5 else "running"
    return [
        ("orientation", at, {"qw": HALF, "qx": HALF, "qy": 0.0, "qz": 0.0, "yaw": 0.0, "pitch": 1.57, "roll": 0.0}),
        ("location", at, {"latitude": 52.5, "longitude": 13.3, "horizontalAccuracy": 7.5}),
        ("activity", at, {"activity": state}),
        ("camera", at, {"image": PICTURE, "imageFormat": "jpg"}),
    ]


@pytest.fixture
def page(dashboard, browser, recorder):
    """The Live page while such a phone records."""
    with sending(recorder, more):
        browser.open(dashboard.url)
        browser.wait(lambda: browser.text('[data-sensor="activity"]'))
        yield browser


def test_phone_turns_as_it_is_held(page):
    """A phone held upright, screen to the viewer, is drawn so: its top edge up and its screen forward."""
    turned = page.wait(lambda: page.run("return document.querySelector('.phone')?.style.transform"))
    numbers = [float(number) for number in turned.removeprefix("matrix3d(").removesuffix(")").split(",")]
    down, forward = numbers[4:7], numbers[8:11]
    assert down == pytest.approx([0, 1, 0], abs=1e-4)
    assert forward == pytest.approx([0, 0, 1], abs=1e-4)


def test_states_are_bars_over_time(page):
    """Each state is a bar as long as it lasted, in words."""
    words = page.wait(
        lambda: (
            (found := page.run("return [...document.querySelectorAll('.state-bar')].map((bar) => bar.textContent)"))
            and "walking" in found
            and "running" in found
            and found
        )
    )
    assert set(words) >= {"walking", "running"}


def test_annotations_are_lines_across_all_charts(dashboard, browser, recorder):
    """An annotation stands in every chart at its time, as text whatever it holds."""
    with sending(recorder, lambda at: [("gyroscope", at, {"x": 0.1}), ("annotation", at, {"text": "<b>lap</b>"})]):
        browser.open(dashboard.url)
        marks = browser.wait(
            lambda: browser.run(
                """const graphs = ["accelerometer", "gyroscope"].map((name) =>
                     document.querySelector(`[data-sensor="${name}"] .js-plotly-plot`));
                   if (!graphs.every((graph) => graph?.layout?.shapes?.length)) return null;
                   return graphs.map((graph) => graph.layout.shapes[0].label.text);"""
            )
        )
    assert marks == ["&lt;b&gt;lap&lt;/b&gt;"] * 2
    assert browser.run("return document.querySelector('#cards b')") is None


def test_pictures_are_shown(page):
    """The newest camera picture is shown as a picture, fetched by its time; its text is shown nowhere."""
    page.run("document.querySelector('[data-sensor=\"camera\"]').scrollIntoView()")  # only cards in sight are drawn
    loaded = "const image = document.querySelector('[data-sensor=\"camera\"] img'); return image && image.naturalWidth"
    assert page.wait(lambda: page.run(loaded)) == 1
    assert PICTURE[:40] not in page.text("#cards")


def test_accuracy_is_a_disc_around_the_newest_place(page):
    """The track has a disc whose radius is the accuracy in metres."""
    radius = page.wait(
        lambda: page.run(
            """const graph = document.querySelector('[data-sensor="location"] .js-plotly-plot');
               const disc = graph?.data?.find((trace) => trace.meta.part === "accuracy");
               return disc?.y?.length ? Math.max(...disc.y) : null;"""
        )
    )
    assert radius == pytest.approx(7.5)


def test_cards_are_picked_ordered_and_kept_in_the_address(page):
    """What is picked and its order stand in the address; opened again, the page shows the same and asks for no more."""
    page.run("document.getElementById('pick-cards').click()")
    page.wait(lambda: page.text("#picker-list"))
    titles = page.run("return [...document.querySelectorAll('#picker-list label')].map((label) => label.textContent)")
    for title in titles:
        if title not in ("Acceleration", "Activity"):
            page.run(
                """[...document.querySelectorAll("#picker-list label")]
                     .find((label) => label.textContent === arguments[0]).querySelector("input").click()""",
                title,
            )
    page.run("document.querySelector('#picker-list [aria-label=\"Move Acceleration down\"]').click()")
    page.run("document.getElementById('picker-close').click()")
    assert "cards=activity%2Caccelerometer" in page.run("return location.search")
    page.driver.refresh()
    visible = """return [...document.querySelectorAll("#cards > [data-sensor]:not([hidden])")]
                   .sort((a, b) => a.style.order - b.style.order).map((card) => card.dataset.sensor)"""
    page.wait(lambda: page.run(visible) == ["activity", "accelerometer"])


def test_delay_of_the_pipeline_is_always_in_sight(page):
    """Beside the age of the newest reading stands how long the pipeline takes; the worse of both gives the colour."""
    page.wait(lambda: "pipeline" in page.text("#age"))
    assert page.run("return document.getElementById('age').dataset.level") in ("green", "amber", "red")


def test_late_message_shows_without_a_reload(cluster, dashboard, browser, recorder):
    """A message with readings of two hours ago appears in the open page, in the range that reaches there."""
    start = time.time() - 3 * 3600
    recorder.send([("barometer", start, {"pressure": 1000.0})])
    first = """const graph = document.querySelector('[data-sensor="accelerometer"] .js-plotly-plot');
               const x = graph?.data?.[1]?.x; return x?.length ? x[0] : null;"""
    with sending(recorder), stream_connection(cluster) as connection:
        browser.open(f"{dashboard.url}/?range=session")
        before = browser.wait(lambda: browser.run(first))
        late = Recorder(connection, partition=1)
        late.number = 1_000_000
        late.send([("accelerometer", start + 3600, {"x": 5.0, "y": 5.0, "z": 5.0})])
        browser.wait(lambda: browser.run(first) < before - 3_600_000)
