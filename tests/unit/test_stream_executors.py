"""The stream ends when nobody works for it, so that it is started again."""

import pytest

from services.stream.executors import PATIENCE_S, ExecutorWatch, NobodyWorksError


class Cluster:
    """What the watch sees."""

    def __init__(self):
        self.now, self.executors = 0.0, 0
        self.watch = ExecutorWatch(lambda: self.executors, lambda: self.now)

    def look(self, after_s, executors):
        self.now, self.executors = self.now + after_s, executors
        self.watch.look()


@pytest.fixture
def cluster():
    return Cluster()


def test_nobody_comes(cluster):
    """A minute is given, not more."""
    cluster.look(PATIENCE_S, 0)
    with pytest.raises(NobodyWorksError):
        cluster.look(1, 0)


def test_one_that_is_replaced_in_time_is_no_reason(cluster):
    """Each time one is seen the minute begins anew."""
    cluster.look(PATIENCE_S, 1)
    cluster.look(PATIENCE_S, 0)
    cluster.look(1, 2)
    cluster.look(PATIENCE_S, 0)
    with pytest.raises(NobodyWorksError):
        cluster.look(1, 0)
