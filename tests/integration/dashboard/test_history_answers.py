"""What the History page is told, on a real PostgreSQL, without a browser."""

import time
from functools import partial

import pytest

from services.common.database import connect
from services.dashboard.database import Database
from services.dashboard.history import History
from services.dashboard.history_answer import HistoryAsk
from services.dashboard.queries import Queries
from services.dashboard.queries.history import HistoryQueries
from tests.integration.recordings import Recorder, motion

pytestmark = pytest.mark.usefixtures("start")
DAY = 86_400


@pytest.fixture
def history(cluster):
    database = Database(partial(connect, cluster.settings("dashboard"), "test", 5.0), 2)
    return History(Queries(database), HistoryQueries(database), with_traces=True)


@pytest.fixture
def start(writer):
    """Three recordings of one phone, a day apart, each of a minute with two messages missing."""
    first = float(int(time.time() - 4 * DAY))
    for day in range(3):
        recorder = Recorder(writer, session=f"session-{day}")
        for second in range(60):
            if second in (20, 21):
                recorder.number += 1
                continue
            at = first + day * DAY + second
            more = [("annotation", at, {"text": f"day {day}"})] if second == 5 else []
            recorder.send(motion(at, 1, 10) + more, broker_time=at + 1)
    return first


def test_all_recordings_of_a_phone_share_one_axis(history):
    """A span of days shows every recording in it with its own gaps and annotations."""
    answer = history.answer(HistoryAsk(device="phone-1", sensors=["accelerometer"]))
    [panel] = answer.panels
    assert {line.session for line in panel.lines} == {"session-0", "session-1", "session-2"}
    assert [gap.missing for gap in answer.gaps] == [2, 2, 2]
    assert [mark.text for mark in answer.marks] == ["day 0", "day 1", "day 2"]
    assert sum(row.readings for row in answer.statistics if row.channel == "x") == 3 * 58 * 10
    assert answer.step > 60


def test_only_what_lies_in_the_span_is_told(history, start):
    """A span around one of the recordings shows that one alone."""
    span = {"from_ms": (start + DAY - 3600) * 1000, "until_ms": (start + DAY + 3600) * 1000}
    answer = history.answer(HistoryAsk(device="phone-1", **span))
    assert {line.session for line in answer.panels[0].lines} == {"session-1"}
    assert [(gap.first, gap.last) for gap in answer.gaps] == [(20, 21)]


def test_compared_recordings_are_moved_to_zero(history):
    """Aligned, each recording begins at zero, with its gaps and annotations moved alike."""
    answer = history.answer(HistoryAsk(device="phone-1", sessions=["session-0", "session-2"], aligned=True))
    assert answer.view[0] == 0
    assert answer.view[1] == pytest.approx(59_900)
    assert [gap.from_ms for gap in answer.gaps] == [pytest.approx(19_900, abs=1)] * 2
    assert sorted(mark.time_ms for mark in answer.marks) == [pytest.approx(5000, abs=1)] * 2


def test_states_are_told_where_they_change(history, writer, start):
    """The texts of a chosen sensor come with what they were before the view; a sensor of texts alone is not empty."""
    recorder = Recorder(writer, session="session-texts")
    at = start + 3 * DAY
    for second, activity in enumerate(["still", "still", "walking", "walking", "running"]):
        recorder.send([("activity", at + second, {"activity": activity})], broker_time=at + second + 1)
    ask = HistoryAsk(device="phone-1", sessions=["session-texts"], sensors=["activity"], from_ms=(at + 1.5) * 1000)
    answer = history.answer(ask)
    assert [state.value for state in answer.states] == ["still", "walking", "running"]
    assert answer.panels == []
