"""How fast a sender may go on."""

import pytest

from services.ingest.rate import RateLimit
from tests.clock import Clock


@pytest.fixture
def clock():
    return Clock(1000.0)


def test_burst_is_let_through_and_no_more(clock):
    """As many messages as the burst may come at once; the next has to wait for the rate."""
    limit = RateLimit(rate=2, burst=5, clock=clock)
    assert [limit.take("a") for _ in range(5)] == [0] * 5
    assert limit.take("a") == pytest.approx(0.5)


def test_waiting_as_told_is_enough(clock):
    """Who comes back after the time that was told is let through once."""
    limit = RateLimit(rate=2, burst=1, clock=clock)
    limit.take("a")
    clock.now += limit.take("a")
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_refused_messages_cost_nothing(clock):
    """Trying again and again does not make the wait longer."""
    limit = RateLimit(rate=1, burst=1, clock=clock)
    limit.take("a")
    assert {limit.take("a") for _ in range(100)} == {1.0}


def test_quiet_sender_has_its_burst_again_and_not_more(clock):
    """However long a sender was quiet, its bucket holds one burst."""
    limit = RateLimit(rate=10, burst=3, clock=clock)
    for clock.now in (1000.0, 2000.0, 3000.0):
        assert sum(limit.take("a") == 0 for _ in range(10)) == 3


def test_steady_phone_never_meets_the_limit(clock):
    """A phone that keeps below the rate is never refused."""
    limit = RateLimit(rate=50, burst=500, clock=clock)
    for _ in range(10_000):
        clock.now += 0.1
        assert limit.take("phone") == 0


def test_senders_do_not_share(clock):
    """What one sender uses up is not missing for another."""
    limit = RateLimit(rate=1, burst=1, clock=clock)
    assert (limit.take("a"), limit.take("b")) == (0, 0)
    assert limit.take("a") > 0


def test_memory_is_bounded_and_forgets_the_quietest_first(clock):
    """However many names come, so many are remembered, those that sent last among them."""
    limit = RateLimit(rate=0.001, burst=1, most_senders=100, clock=clock)
    limit.take("busy")
    for i in range(1000):
        limit.take(i)
        assert limit.take("busy") > 0
    assert limit.take(999) > 0
    assert limit.take(0) == 0
