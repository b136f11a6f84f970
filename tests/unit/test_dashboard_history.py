"""Gaps, lines, zones and words of the History page: pure functions."""

from datetime import UTC, datetime

import pytest

from services.dashboard.figures_history import history_figure
from services.dashboard.gaps import HOUR_MS, Gap, gaps_between, gaps_by_hour
from services.dashboard.history_answer import HistoryAnswer, HistoryAsk, Mark, Panel, parse_history_ask
from services.dashboard.lines import MOST_POINTS, line_of_readings, line_of_windows
from services.dashboard.queries.history import HourRange, NumberedSpan
from services.dashboard.queries.windows import Window
from services.dashboard.ranges import history_step, kept_step
from services.dashboard.words import count_of, in_figures, local_time, span_words
from services.dashboard.zones import Zone


def messages(*numbers, start=0.0, period=200.0):
    return [NumberedSpan(number, start + number * period, start + number * period + 190) for number in numbers]


def test_holes_in_the_numbers_are_gaps():
    """A gap reaches from the end of the message before it to the beginning of the one behind it."""
    assert list(gaps_between(messages(0, 1, 4, 5, 7))) == [Gap(390, 800, 2, 2, 3), Gap(1190, 1400, 1, 6, 6)]


def test_messages_out_of_order_are_no_gap():
    """A late message stands where its number says, whatever came before it."""
    first, second, third = messages(0, 1, 2)
    assert list(gaps_between([first, third, second])) == []


def test_counting_anew_is_no_gap():
    """When the app begins to count from 0 in a later hour, nothing is missing; where it goes on, something may be."""
    restarted = [*messages(0, 1, 2), *messages(0, 1, start=HOUR_MS)]
    assert list(gaps_between(restarted)) == []
    going_on = [*messages(0, 1), NumberedSpan(5, HOUR_MS, HOUR_MS + 1)]
    assert [gap.missing for gap in gaps_between(going_on)] == [3]


def test_hours_tell_how_many_are_missing():
    """Without messages the ledger tells the holes of each hour, and those between two hours."""
    ranges = [HourRange(10, 0, 5), HourRange(10, 7, 10), HourRange(11, 12, 20)]
    found = gaps_by_hour(ranges, 10.5 * HOUR_MS, 11.5 * HOUR_MS)
    assert found == [
        Gap(10.5 * HOUR_MS, 11 * HOUR_MS, 2, 0, 9),
        Gap(11 * HOUR_MS, 11.5 * HOUR_MS, 2, 10, 19),
    ]


def test_line_breaks_where_readings_are_missing():
    """A pause of many times the usual distance breaks the line; what is only uneven does not."""
    pairs = [(at, 1.0) for at in (0, 10, 20, 35, 40, 400, 410)]
    line = line_of_readings("x", "s", pairs, 1000)
    assert line.y == [1.0] * 5 + [None] + [1.0] * 2
    assert (line.x[0], line.x[-1]) == (1000, 1410)


def test_thinned_line_keeps_every_peak():
    """Of very many readings fewer points are drawn, but the highest and the lowest are among them."""
    pairs = [(float(at), 0.0) for at in range(100_000)]
    pairs[41_417], pairs[77_777] = (41_417.0, 99.0), (77_777.0, -99.0)
    line = line_of_readings("x", "s", pairs, 0)
    assert len(line.x) <= MOST_POINTS + 2
    assert (max(line.y), min(line.y)) == (99.0, -99.0)
    assert line.x == sorted(line.x)


def test_band_has_every_minimum_and_maximum():
    """The band goes along the maxima and back along the minima of each stretch, and does not cross a gap."""
    windows = [Window(1, at, 10, 1.0, 0.0, -at, 5.0 + at) for at in (0.0, 1000.0, 2000.0, 9000.0)]
    line = line_of_windows("x", "s", windows, 1, 0)
    assert line.band_x == [500, 1500, 2500, 2500, 1500, 500, None, 9500, 9500]
    assert line.band_y == [5, 1005, 2005, -2000, -1000, 0, None, 9005, -9000]
    assert line.y == [1, 1, 1, None, 1]


@pytest.mark.parametrize(
    ("length_ms", "step_s"),
    [
        (61_000, 1),
        (1_500_000, 1),
        (3_600_000, 5),
        (86_400_000, 60),
        (30 * 86_400_000, 1800),
        (365 * 86_400_000, 21_600),
    ],
)
def test_resolution_follows_the_range(length_ms, step_s):
    """A view has at most 1500 windows."""
    assert history_step(length_ms) == step_s


def test_windows_that_are_no_longer_kept_are_replaced_by_coarser_ones():
    """Where the fine windows have been dropped, the view is drawn with the finest that are left."""
    kept = {1: 1000.0, 10: 500.0, 60: 0.0}
    assert [kept_step(1, from_ms, kept) for from_ms in (2000, 700, 10)] == [1, 10, 60]
    assert kept_step(300, 10, kept) == 300


def test_zone_follows_summer_time():
    """Local times are right on both sides of a change, and lead back to the same moment."""
    zone = Zone("Europe/Berlin")
    winter = datetime(2025, 1, 15, 12, tzinfo=UTC).timestamp() * 1000
    summer = datetime(2025, 7, 15, 12, tzinfo=UTC).timestamp() * 1000
    assert (zone.words(winter), zone.words(summer)) == ("UTC+1", "UTC+2")
    assert local_time(summer, zone) == "15 Jul 2025 14:00:00.000"
    assert [zone.from_local(zone.local(at)) for at in (winter, summer)] == [winter, summer]
    assert Zone("Asia/Kathmandu").words(winter) == "UTC+5:45"


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../../etc/passwd", "a\0b"])
def test_unknown_zone_is_utc(name):
    """A zone that is not known, or no zone at all, is UTC."""
    assert (Zone(name).local(5.0), Zone(name).words(0)) == (5.0, "UTC")


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (1000, "1 s"),
        (1500, "1.5 s"),
        (60_000, "60 s"),
        (90_000, "1.5 min"),
        (7_200_000, "2 h"),
        (864_000_000, "10 days"),
    ],
)
def test_spans_are_short(ms, words):
    """Lengths are told as a person would."""
    assert span_words(ms) == words


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (-0.25, "−0.2500"), (1013.25, "1013.25"), (1.5e7 + 0.5, "1.500e+07")]
)
def test_figures_can_be_read(value, text):
    """Values have the digits that a person can follow."""
    assert in_figures(value) == text


def test_counts_are_words():
    """One is not many."""
    assert (count_of(1, "message"), count_of(2000, "message")) == ("1 message", "2,000 messages")


@pytest.mark.parametrize("content", [None, 3, {"sessions": 4}, {"from": "x"}])
def test_strange_question_is_one_for_the_newest(content):
    """Whatever is sent as a question, it is answered."""
    assert parse_history_ask(content) == HistoryAsk()


def answer(zone="Europe/Berlin", aligned=False):
    windows = [Window(1, at * 1000.0, 10, 1.0, 0.0, 0.0, 2.0) for at in range(5)]
    lines = [line_of_windows(channel, "one", windows, 1, 0) for channel in ("pressure", "relativeAltitude", "<b>")]
    return HistoryAnswer(
        "seen",
        HistoryAsk(zone=zone, aligned=aligned),
        view=(0, 5000),
        panels=[Panel("barometer", lines)],
        gaps=[Gap(1000, 2000, 7, 1, 7)],
        marks=[Mark(3000, '<img src="x">')],
    )


def test_figure_has_a_panel_for_each_unit():
    """Channels of one unit share a panel; all stand above one time axis in the viewer's time."""
    figure = history_figure(answer(), Zone("Europe/Berlin"))
    assert {trace["yaxis"] for trace in figure["data"]} == {"y", "y2"}
    assert figure["layout"]["xaxis"]["range"] == [3_600_000, 3_605_000]
    assert "UTC+1" in figure["layout"]["xaxis"]["hoverformat"]
    lines = [trace for trace in figure["data"] if "name" in trace]
    assert lines[0]["customdata"][0] == "00:00:00 UTC"


def test_figure_shades_what_is_missing_and_says_how_many():
    """A gap is a shade across all panels with its number; an annotation is a line with its words as text."""
    layout = history_figure(answer(), Zone("UTC"))["layout"]
    shade, mark = layout["shapes"]
    assert (shade["type"], shade["x0"], shade["x1"]) == ("rect", 1000, 2000)
    assert shade["label"]["text"] == "−7"
    assert mark["label"]["text"] == "&lt;img src=&quot;x&quot;&gt;"
    assert all("<b>" not in (trace.get("name") or "") for trace in history_figure(answer(), Zone("UTC"))["data"])


def test_compared_recordings_begin_at_zero():
    """Aligned recordings are shown by what has passed since their starts, in no zone."""
    figure = history_figure(answer(aligned=True), Zone("Europe/Berlin"))
    assert figure["layout"]["xaxis"]["range"] == [0, 5000]
    assert "UTC" not in figure["layout"]["xaxis"]["hoverformat"]
