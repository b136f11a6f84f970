"""Rates, jitter and lengths of time as the Sessions page tells them."""

from datetime import UTC, datetime, timedelta

import pytest

from services.dashboard.pages.account import agent_words
from services.dashboard.pages.moments import ago, at, duration
from services.dashboard.queries.sessions import SensorRate
from services.dashboard.regularity import Regularities, Regularity, regularity


def test_even_readings_have_no_jitter():
    """A sensor that keeps its pace has its interval and nothing else, in whatever order the readings come."""
    found = regularity([100.0, 0.0, 40.0, 20.0, 80.0, 60.0])
    assert found.hz == 50
    assert found.jitter_ms == pytest.approx(0)


def test_jitter_is_the_spread_of_the_intervals():
    """Intervals of 10 and 30 ms in turn spread by 10 ms around their mean."""
    assert regularity([0, 10, 40, 50, 80]).jitter_ms == pytest.approx(10)


def test_missing_messages_are_no_jitter():
    """A long pause is missing data and does not count as unevenness; neither do readings of one time."""
    assert regularity([0, 10, 20, 30, 30, 5000, 5010, 5020]).jitter_ms == pytest.approx(0)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 2.0, 3.0], [5.0] * 10])
def test_few_readings_tell_nothing(times):
    """Of three readings nobody can say how regular they are."""
    assert regularity(times) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (89, "89 s"), (91, "2 min"), (5400, "2 h"), (86_400, "24 h"), (864_000, "10 days")],
)
def test_lengths_are_short(seconds, text):
    """As a person would say it."""
    assert duration(seconds) == text


def test_moments_carry_utc():
    """Whatever is shown, the exact moment stands beside it; what never was is said so."""
    moment = datetime.now(UTC) - timedelta(seconds=42)
    assert ago(moment).children == "42 s ago"
    assert ago(moment).title.endswith("UTC")
    assert ago(None).children == "never"
    assert at(None).children == "–"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36", "Chrome on Android"),
        ("", "Another browser"),
    ],
)
def test_a_browser_is_told_in_words(agent, words):
    """People recognise their own browsers in the list of sign-ins."""
    assert agent_words(agent) == words


class FewQueries:
    """Two sessions without messages, and what was asked of them."""

    def __init__(self):
        self.asked = []

    def newest_messages(self, session_ids):
        self.asked.append(list(session_ids))
        return {}

    def rates(self, session_ids):
        return [SensorRate(key, sensor, 2.5) for key in session_ids for sensor in ("light", "location")]


def test_what_was_measured_is_shared_for_a_minute():
    """Who asks within a minute is told the same; only sessions that nobody has asked for are measured."""
    queries, now = FewQueries(), [100.0]
    known = Regularities(queries, lambda: now[0])
    assert known.of([7]) == {7: {"light": Regularity(2.5, None), "location": Regularity(2.5, None)}}
    now[0] += 59
    assert list(known.of([8, 7])) == [8, 7]
    now[0] += 2
    known.of([7, 8])
    assert queries.asked == [[7], [8], [7]]
