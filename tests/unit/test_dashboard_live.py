"""What the Live page is told, from a database that is a list in memory."""

import json

import pytest
import zstandard

from services.dashboard.chunks import TextChange
from services.dashboard.database import DatabaseAwayError
from services.dashboard.feed import REFRESH_S, Feed
from services.dashboard.live import Live
from services.dashboard.news import Ask, cards_of, parse_ask, session_words, texts_json, windows_json
from services.dashboard.queries import Look, MessageRow, SeriesRow, SessionRow, SpanRow, Window
from tests.clock import Clock

START_MS = 1_764_000_000_000


class MemoryQueries:
    """One session, whose messages and windows are lists; `is_away` makes it unreachable."""

    def __init__(self):
        self.messages = []
        self.is_away = False
        self.asked = []
        self.last_ms = START_MS
        self.at_ms = START_MS

    def send(self, *readings, offset=None, partition=0, arrives=None):
        """One message with readings of (ms after the start, values); it arrives with its newest one, or then."""
        times = [START_MS + after for after, _ in readings]
        broker_us = (max(times) if arrives is None else START_MS + arrives) * 1000
        payload = [
            {"name": "s", "time": time_ms * 10**6, "values": values}
            for time_ms, (_, values) in zip(times, readings, strict=True)
        ]
        body = json.dumps({"messageId": 1, "sessionId": "one", "deviceId": "d", "payload": payload}).encode()
        offset = len(self.messages) if offset is None else offset
        packed = memoryview(zstandard.compress(body))
        self.messages.append(
            MessageRow(partition, offset, min(times) * 1000, max(times) * 1000, broker_us, len(times), packed)
        )
        self.last_ms = max(self.last_ms, *times)

    def _answer(self, name):
        if self.is_away:
            raise DatabaseAwayError("connection refused")
        self.asked.append(name)

    def _session(self):
        return SessionRow(1, "d", None, "one", START_MS, self.last_ms, self.last_ms, len(self.messages), 0)

    def recent_sessions(self):
        self._answer("recent_sessions")
        return [self._session()] if self.messages else []

    def find_session(self, device, session):
        self._answer("find_session")
        return self._session() if device == "d" and session in (None, "one") and self.messages else None

    def series(self, _session_id):
        self._answer("series")
        return [SeriesRow(1, "s", "x", True, False), SeriesRow(2, "s", "word", False, True)]

    def newest_spans(self, _session_id):
        self._answer("newest_spans")
        newest = sorted(self.messages, key=lambda row: row.broker_us, reverse=True)[:60]
        return [SpanRow(row.partition, row.offset, row.first_us, row.last_us, row.broker_us) for row in newest]

    def look(self, _session_id, seen, broker_us, full_us):
        self._answer("look")
        beyond = [row for row in self.messages if row.offset > seen.get(row.partition, -1)]
        if not self.messages:
            return None
        found = [
            row if row.last_us >= full_us else row._replace(body=None) for row in beyond if row.broker_us >= broker_us
        ]
        return Look(self._session(), self.at_ms * 1000, found)

    def windows(self, series_ids, step_s, from_ms, until_ms):
        self._answer(("windows", step_s, from_ms - START_MS, until_ms - START_MS))
        return [Window(series_ids[0], from_ms, 1, 0.5, 0.0, 0.0, 1.0)]

    def newest_windows(self, _series_ids, _from_ms):
        self._answer("newest_windows")
        return []

    def text_changes(self, _are_events, _from_ms, _until_ms, _length):
        self._answer("text_changes")
        return []


@pytest.fixture
def queries():
    return MemoryQueries()


def follow(queries, clock):
    return Feed(queries, queries.find_session("d", None), clock)


def offsets(tail):
    return [chunk.cursor[1] for chunk in tail.chunks]


def test_feed_gives_a_new_viewer_everything_and_then_what_is_new(queries):
    """A viewer without a cursor gets all chunks of the last 30 s, and with it only those beyond."""
    clock = Clock()
    queries.send((0, {"x": 1}))
    feed = follow(queries, clock)
    feed.refresh()
    whole = feed.tail(None)
    queries.send((200, {"x": 2}))
    clock.now += REFRESH_S
    feed.refresh()
    assert (offsets(whole), whole.is_whole) == ([0], True)
    assert offsets(feed.tail(whole.cursor)) == [1]
    assert not feed.tail(whole.cursor).is_whole


def test_feed_is_read_once_for_viewers_who_come_together(queries):
    """Ten viewers within the refresh time cost one look into the database."""
    queries.send((0, {"x": 1}))
    feed = follow(queries, Clock())
    for _ in range(10):
        feed.refresh()
    assert queries.asked.count("look") == 1


def test_feed_follows_a_session_into_another_partition(queries):
    """Offsets count per partition: a message with a lower offset in a new partition is new."""
    clock = Clock()
    queries.send((0, {"x": 1}), offset=500)
    feed = follow(queries, clock)
    feed.refresh()
    seen = feed.tail(None).cursor
    queries.send((200, {"x": 2}), offset=3, partition=1)
    clock.now += REFRESH_S
    feed.refresh()
    assert offsets(feed.tail(seen)) == [3]


def test_feed_forgets_what_is_older_than_its_charts(queries):
    """Chunks older than 30 s go, and a viewer who missed one of them is told to begin anew."""
    clock = Clock()
    queries.send((0, {"x": 1}))
    feed = follow(queries, clock)
    feed.refresh()
    queries.send((100, {"x": 1}))
    queries.send((60_000, {"x": 2}))
    clock.now += 60
    feed.refresh()
    clock.now += 60
    feed.refresh()
    assert offsets(feed.tail(None)) == [2]
    assert feed.tail({0: 0}).is_whole
    assert not feed.tail({0: 1}).is_whole


def after(feed, clock):
    """What a viewer who has everything lacks after one more look."""
    seen = feed.tail(None).cursor
    clock.now += 2 * REFRESH_S
    feed.refresh()
    return feed.tail(seen)


def test_late_message_is_found_however_late(queries):
    """A message with readings of hours ago is new to every viewer, once."""
    clock = Clock()
    queries.send((0, {"x": 1}))
    feed = follow(queries, clock)
    feed.refresh()
    queries.send((-7_200_000, {"x": 3}), arrives=400)
    queries.send((600, {"x": 4}))
    late = after(feed, clock)
    assert offsets(late) == [1, 2]
    assert late.chunks[0].first_ms == START_MS - 7_200_000
    assert late.chunks[0].points == {}
    assert after(feed, clock).chunks == []


def test_reading_dated_ahead_does_not_move_the_view(queries):
    """One message dated a day ahead leaves the newest time where all others say it is."""
    clock = Clock()
    for second in range(20):
        queries.send((second * 1000, {"x": 1}))
    feed = follow(queries, clock)
    feed.refresh()
    queries.send((20_000, {"x": 1}), (86_400_000, {"x": 1}), arrives=20_000)
    after(feed, clock)
    assert feed.session.last_time_ms == START_MS + 19_000
    queries.send((21_000, {"x": 1}))
    after(feed, clock)
    assert feed.session.last_time_ms == START_MS + 21_000
    again = follow(queries, Clock())
    again.refresh()
    assert again.session.last_time_ms == START_MS + 21_000


def test_clock_that_is_wrong_throughout_is_followed(queries):
    """A phone whose clock is a day ahead is shown at its own times, also when it is set right in between."""
    clock = Clock()
    day = 86_400_000
    for second in range(20):
        queries.send((day + second * 1000, {"x": 1}), arrives=second * 1000)
    feed = follow(queries, clock)
    feed.refresh()
    assert feed.session.last_time_ms == START_MS + day + 19_000
    for second in range(20, 30):
        queries.send((second * 1000, {"x": 1}))
        after(feed, clock)
    assert feed.session.last_time_ms == START_MS + 29_000


def test_delay_is_from_the_broker_to_here(queries):
    """The pipeline's delay is what newest messages took; those that were there before the first look say nothing."""
    clock = Clock()
    queries.send((0, {"x": 1}))
    queries.at_ms = START_MS + 60_000
    feed = follow(queries, clock)
    feed.refresh()
    assert feed.delay_ms is None
    queries.send((60_000, {"x": 1}))
    queries.at_ms = START_MS + 60_450
    after(feed, clock)
    assert feed.delay_ms == 450


def live(queries, at_ms=START_MS, steady=None):
    return Live(queries, clock=Clock(at_ms / 1000), steady=steady or Clock())


def test_answer_at_full_rate_holds_every_reading(queries):
    """A new page gets the points of all readings, the current values, the rate and the cards to show."""
    queries.send((0, {"x": 1.5}), (10, {"x": 2.5}))
    news, cards = live(queries, START_MS + 500).answer(Ask(id=4))
    assert news.points == {"s": {"t": [30_000, 30_010], "c": {"x": [1.5, 2.5]}}}
    assert news.latest == {"s": {"x": (START_MS + 10, 2.5)}}
    assert news.rates == {"s": 100.0}
    assert (news.id, news.state, news.is_whole, news.now) == (4, "live", True, START_MS + 500)
    assert [card.sensor for card in cards] == ["s"]


def test_answer_sends_nothing_twice(queries):
    """A page that says what it has gets no points, no cards and no texts again."""
    queries.send((0, {"x": 1.5}))
    server = live(queries)
    first, _ = server.answer(Ask())
    again, cards = server.answer(Ask(cursor=first.cursor, step=first.view.step_s, cards=first.cards))
    assert (again.points, again.latest, again.texts, cards) == ({}, {}, {}, None)


def test_longer_ranges_read_only_the_windows_that_were_touched(queries):
    """The first answer holds the range's windows; the next one those from the earliest new reading on, late or not."""
    for second in range(100):
        queries.send((second * 1000, {"x": 1}))
    steady = Clock()
    server = live(queries, steady=steady)
    first, _ = server.answer(Ask(range="2m"))
    queries.send((100_000, {"x": 1}))
    queries.send((55_500, {"x": 1}))
    steady.now += REFRESH_S
    server.answer(Ask(range="2m", cursor=first.cursor, step=first.view.step_s, cards=first.cards))
    windows = [asked for asked in queries.asked if asked[0] == "windows"]
    assert windows == [("windows", 1, -21_000, 99_000), ("windows", 1, 55_000, 100_000)]


def test_viewers_of_the_same_windows_share_them(queries):
    """Ten viewers who come together cost one query, and what comes in meanwhile reaches each of them afterwards."""
    queries.send((0, {"x": 1}))
    steady = Clock()
    server = live(queries, steady=steady)
    first = [server.answer(Ask(range="2m"))[0] for _ in range(10)]
    queries.send((1000, {"x": 1}))
    steady.now += REFRESH_S
    joined, _ = server.answer(Ask(range="10m"))
    shared, _ = server.answer(Ask(range="10m"))
    queries.send((2000, {"x": 1}))
    steady.now += REFRESH_S
    after, _ = server.answer(Ask(range="10m", cursor=shared.cursor, step=1, cards=shared.cards))
    asked = [entry for entry in queries.asked if entry[0] == "windows"]
    assert len({str(news.windows) for news in first}) == 1
    assert joined.windows == shared.windows
    assert [entry[1:] for entry in asked] == [(1, -120_000, 0), (1, -599_000, 1000), (1, 2000, 2000)]
    assert after.cursor == {0: 2}


def test_page_gets_only_the_sensors_it_shows(queries):
    """A page that has picked its cards is sent nothing for the others."""
    queries.send((0, {"x": 1.5}))
    server = live(queries)
    assert server.answer(Ask(sensors=frozenset(["other"])))[0].points == {}
    assert "s" in server.answer(Ask(sensors=frozenset(["s"])))[0].points


def test_another_step_begins_anew(queries):
    """A page that holds windows of another step gets the whole range."""
    queries.send((0, {"x": 1}))
    server = live(queries)
    first, _ = server.answer(Ask(range="2m"))
    other, _ = server.answer(Ask(range="1h", cursor=first.cursor, step=first.view.step_s, cards=first.cards))
    assert (other.is_whole, other.view.step_s) == (True, 10)


def test_nothing_yet_and_not_found_are_told_apart(queries):
    """Without any session the page is told how to begin; with an unknown one, that it is not there."""
    assert live(queries).answer(Ask())[0].state == "empty"
    queries.send((0, {"x": 1}))
    assert live(queries).answer(Ask(device="nobody"))[0].state == "unknown"


def test_deleted_recording_is_noticed_at_once(queries):
    """A page that shows a recording is told when it is gone, and one that asks for none finds what is left."""
    queries.send((0, {"x": 1}))
    steady = Clock()
    server = live(queries, steady=steady)
    assert server.answer(Ask())[0].state == "live"
    queries.messages.clear()
    steady.now += REFRESH_S
    assert server.answer(Ask(device="d", session="one"))[0].state == "unknown"
    assert server.answer(Ask())[0].state == "empty"


def test_outage_is_an_answer(queries):
    """While PostgreSQL is away the page is told so, and nothing it has is taken from it."""
    queries.is_away = True
    news, cards = live(queries).answer(Ask(id=3))
    assert (news.state, news.reason, news.id, cards) == ("away", "connection refused", 3, None)


@pytest.mark.parametrize(
    "content",
    [None, 7, [], {"cursor": "x"}, {"device": 3}, {"range": None}, {"cursor": {"0": "1"}}, {"cursor": {"x": 1}}],
)
def test_strange_question_is_one_of_a_new_page(content):
    """Whatever is sent as a question, it is answered as if the page had nothing."""
    assert parse_ask(content) == Ask()


def test_cursor_comes_back_as_it_went():
    """The page keeps the cursor as JSON, whose keys are texts."""
    assert parse_ask({"cursor": {"3": 70}, "id": 9, "range": "1h"}) == Ask(cursor={3: 70}, id=9, range="1h")


@pytest.mark.parametrize(("age_ms", "is_running"), [(0, True), (59_000, True), (61_000, False)])
def test_recording_runs_while_it_is_heard_of(age_ms, is_running):
    """A recording whose newest message came within a minute runs; an older one has ended."""
    row = SessionRow(1, "0123456789", None, "one", 0, 0, START_MS, 1, 1)
    words = session_words(row, START_MS + age_ms)
    assert (words["is_running"], words["name"]) == (is_running, "Phone 01234567")


@pytest.mark.parametrize(
    ("platform", "standardised", "words"),
    [("ios", True, "standardised."), ("ios", False, "those of iOS"), ("android", False, "those of Android")],
)
def test_units_are_told(platform, standardised, words):
    """A recording says which units and signs its readings have, as far as anybody has said."""
    row = SessionRow(1, "d", None, "one", 0, 0, 0, 1, 1, "walk", platform, standardised)
    assert words in session_words(row, 0)["units"]
    assert "iOS and Android differ" in session_words(row._replace(standardised=None), 0)["units"]


def test_cards_keep_the_order_in_which_sensors_came():
    """One card per sensor with its channels in order, numbers and texts apart."""
    series = [
        SeriesRow(1, "b", "z", True, False),
        SeriesRow(2, "a", "state", False, True),
        SeriesRow(3, "b", "x", True, False),
        SeriesRow(4, "b", "odd", True, True),
    ]
    assert cards_of(series) == [("b", ["x", "z", "odd"], ["odd"]), ("a", [], ["state"])]


def test_windows_are_rows_by_sensor_and_channel():
    """Windows go out short: start after the base, mean, min, max."""
    rows = [Window(5, 61_000.0, 1, 0.123456789, 0.0, -1.0, 2.0)]
    assert windows_json(rows, [SeriesRow(5, "s", "x", True, False)], 60_000) == {"s": {"x": [(1000, 0.1234568, -1, 2)]}}


def test_texts_go_out_in_the_order_of_their_times():
    """Late texts stand where they belong."""
    changes = {"s": [TextChange(2.0, "c", "later"), TextChange(1.0, "c", "earlier")]}
    assert [value for _, _, value in texts_json(changes)["s"]] == ["earlier", "later"]
