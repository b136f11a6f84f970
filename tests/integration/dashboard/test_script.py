"""The pages' own script: readings as the page holds them."""

import pytest

from tests.integration.dashboard.served import let_in


@pytest.fixture
def script(dashboard, chromium, operator):
    """Runs a function body with the script's `readings` at hand."""
    if not chromium.run("return Boolean(window.readings)"):
        let_in(chromium, dashboard, operator)
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
