"""Ranges, names, units and figures of the dashboard."""

import json
from itertools import pairwise

import pytest

from services.dashboard import figures, sensors
from services.dashboard.news import Card
from services.dashboard.pages.live import sensor_card
from services.dashboard.ranges import floor_ms, step_for, view
from services.dashboard.settings import DashboardSettings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("30s", (4_970_000, 5_000_000, 0)),
        ("2m", (4_880_000, 5_000_000, 1)),
        ("10m", (4_400_000, 5_000_000, 1)),
        ("1h", (1_400_000, 5_000_000, 10)),
        ("session", (0, 5_000_000, 10)),
        ("no such range", (4_970_000, 5_000_000, 0)),
    ],
)
def test_range_ends_with_the_newest_reading(name, expected):
    """Each range has its length and step; an unknown one is the default."""
    assert view(name, 0, 5_000_000) == expected


@pytest.mark.parametrize("hours", [0, 0.01, 1, 12, 24 * 7, 24 * 365, 24 * 3650])
def test_a_session_of_any_length_is_few_windows(hours):
    """However long a session is, its chart has some hundred windows, of a step that the stored ones divide."""
    step = step_for(hours * 3_600_000)
    assert hours * 3600 / step <= 720 or step == 86400
    assert step < 10 or step % 10 == 0
    assert step < 60 or step % 60 == 0


def test_window_begins_on_a_multiple_of_its_step():
    """Times are cut to the start of the window that holds them."""
    assert floor_ms(1_764_000_007_999.9, 10) == 1_764_000_000_000


def test_known_and_unknown_sensors_have_titles_and_units():
    """A known sensor has its title and units; an unknown one its own name and no unit."""
    assert (sensors.title("accelerometer"), sensors.unit("accelerometer", "x")) == ("Acceleration", "m/s²")
    assert sensors.unit("accelerometer", "accuracy") == ""
    assert sensors.unit("barometer", "relativeAltitude") == "m"
    assert (sensors.title("flux <7>"), sensors.unit("flux <7>", "x")) == ("Flux <7>", "")


def test_shared_unit_only_where_all_channels_have_it():
    """The unit stands in the title when all channels have it; accuracy, which has none, does not count."""
    assert sensors.shared_unit("gyroscope", ["x", "accuracy"]) == "rad/s"
    assert sensors.shared_unit("barometer", ["pressure", "relativeAltitude"]) == ""


def test_channels_come_in_the_order_people_expect():
    """x, y, z first, accuracy last, numbers in names by value."""
    assert sensors.in_order(["accuracy", "b10", "z", "b9", "x", "a"]) == ["x", "z", "a", "b9", "b10", "accuracy"]


def test_channels_of_one_unit_share_a_panel():
    """Channels with different units get different scales."""
    assert sensors.by_unit("barometer", ["pressure", "relativeAltitude"]) == [["pressure"], ["relativeAltitude"]]


def test_chart_has_a_line_and_a_band_for_each_channel():
    """Every channel has its two traces on its panel, in one color, and none of them holds data."""
    figure = figures.chart([["x", "y"], ["q"]], hidden=["y"])
    parts = [
        (trace["meta"]["channel"], trace["meta"]["part"], trace["yaxis"], trace["visible"]) for trace in figure["data"]
    ]
    assert parts == [
        ("x", "band", "y", True),
        ("x", "line", "y", True),
        ("y", "band", "y", False),
        ("y", "line", "y", False),
        ("q", "band", "y2", True),
        ("q", "line", "y2", True),
    ]
    assert all(trace["x"] == [] for trace in figure["data"])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_panels_lie_above_each_other(count):
    """Panels fill the height from the top down and do not overlap."""
    layout = figures.chart([[str(panel)] for panel in range(count)])["layout"]
    domains = [layout["yaxis" if panel == 0 else f"yaxis{panel + 1}"]["domain"] for panel in range(count)]
    assert domains[0][1] == 1
    assert all(low < high for low, high in domains)
    assert all(above[0] > below[1] for above, below in pairwise(domains))
    assert domains[-1][0] == pytest.approx(0)


def text_of(card, **settings):
    return json.dumps(
        sensor_card(card, DashboardSettings(**settings)).to_plotly_json(), default=lambda part: part.to_plotly_json()
    )


def test_card_of_a_sensor_with_places_is_a_track():
    """Whatever it is called, a sensor with latitude and longitude is shown as a way, without tiles by default."""
    text = text_of(Card("my gps", ["latitude", "longitude"], []))
    assert '"data-chart": "track"' in text
    assert "scattermap" not in text


def test_tiles_are_used_when_they_are_set():
    """With a tile address the way is drawn on that map."""
    text = text_of(Card("location", ["latitude", "longitude"], []), map_tiles_url="https://tiles.test/{z}/{x}/{y}.png")
    assert '"data-chart": "map"' in text
    assert "https://tiles.test/{z}/{x}/{y}.png" in text


@pytest.mark.parametrize(
    ("card", "part"),
    [(Card("s", [], ["state"]), "lanes"), (Card("annotation", ["millisecond_press_duration"], ["text"]), "texts")],
)
def test_texts_and_events_have_no_chart(card, part):
    """A sensor without numbers has states over time, and one of single events a list; neither has a chart."""
    text = text_of(card)
    assert "data-chart" not in text
    assert f'"data-part": "{part}"' in text


@pytest.mark.parametrize(
    ("channels", "turns"), [(["qw", "qx", "qy", "qz"], True), (["yaw", "pitch", "roll"], True), (["x", "y"], False)]
)
def test_what_tells_how_it_is_held_turns_a_body(channels, turns):
    """Where a sensor tells a quaternion or the three angles, its card has a body that turns."""
    assert ('"data-part": "body"' in text_of(Card("orientation", channels, []))) == turns


def test_accuracy_alone_is_shown():
    """The accuracy line is off beside others, and on when it is all there is."""
    assert '"aria-pressed": "false"' in text_of(Card("s", ["x", "accuracy"], []))
    assert '"aria-pressed": "false"' not in text_of(Card("s", ["accuracy"], []))
