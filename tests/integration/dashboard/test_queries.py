"""What the dashboard asks PostgreSQL."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from prometheus_client import REGISTRY

from services.common.database import connect
from services.dashboard.chunks import chunk_of, merged_points
from services.dashboard.database import Database
from services.dashboard.live import Live
from services.dashboard.news import Ask
from tests.integration.recordings import Recorder, motion


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
