"""When stored messages become visible to a reader, seen by one: PostgreSQL is asked every few milliseconds."""

import bisect
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple, Self

from bench.senders import Sent
from tests.system.stack import Stack

POLL_S: Final = 0.005
# Where each partition's newest stored message lies: written in the transaction that stores the messages themselves.
_PROGRESS: Final = (
    "SELECT partition, coalesce(upper(offsets), 0) FROM partition_progress WHERE topic = 'sensor-messages'"
)
_STORED: Final = """
SELECT session, number, partition, "offset", extract(epoch FROM broker_time)::float8
FROM message JOIN session USING (session_id) WHERE session = ANY (%s)
"""


class Figures(NamedTuple):
    """Of the messages of one phase: delays in ms at quantiles, and what was lost or stored twice."""

    messages: int
    p50: int
    p90: int
    p99: int
    drift: int  # median of the last quarter minus that of the first
    lost: int
    doubled: int


class Watch:
    """Asks in a thread, from the entry to the exit."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen: dict[int, tuple[list[int], list[float]]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(self._stack.database()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not self._stop.wait(POLL_S):
                cursor.execute(_PROGRESS)
                now = time.time()
                for partition, until in cursor.fetchall():
                    untils, times = self._seen.setdefault(partition, ([], []))
                    if not untils or until > untils[-1]:
                        untils.append(until)
                        times.append(now)

    def visible_at(self, partition: int, offset: int) -> float:
        """When the message at `offset` was first seen, in seconds since the Unix epoch."""
        untils, times = self._seen[partition]
        return times[bisect.bisect_right(untils, offset)]

    def await_stored(self, sent: Sequence[Sent], timeout_s: float) -> None:
        """Wait until as many messages are stored as were sent, or until nothing has come for `timeout_s`."""
        sessions = sorted({each.session for each in sent})
        statement = "SELECT coalesce(sum(messages), 0), now() FROM session WHERE session = ANY (%s)"
        before, since = -1, time.monotonic()
        while time.monotonic() - since < timeout_s:
            stored, _ = self._stack.query(statement, [sessions])[0]
            if stored >= len(sent):
                time.sleep(4 * POLL_S)  # the watch has seen it too
                return
            if stored != before:
                before, since = stored, time.monotonic()
            time.sleep(0.1)

    def figures(self, sent: Sequence[Sent], warm_up_s: float, *, from_broker: bool) -> Figures:
        """Delays from the broker's time, or from the POST, of what was sent after the first `warm_up_s` seconds."""
        began = {(each.session, each.number): each.at for each in sent}
        rows = self._stack.query(_STORED, [sorted({each.session for each in sent})])
        stored = {(session, number) for session, number, *_ in rows}
        first = min(began.values()) + warm_up_s
        delays = sorted(
            (at, self.visible_at(partition, offset) - (broker_time if from_broker else at))
            for session, number, partition, offset, broker_time in rows
            if (at := began.get((session, number), 0)) >= first
        )
        milliseconds = [round(delay * 1000) for _, delay in delays]
        quarter = max(1, len(milliseconds) // 4)
        return Figures(
            messages=len(milliseconds),
            p50=quantile(milliseconds, 0.5),
            p90=quantile(milliseconds, 0.9),
            p99=quantile(milliseconds, 0.99),
            drift=quantile(milliseconds[-quarter:], 0.5) - quantile(milliseconds[:quarter], 0.5),
            lost=len(began.keys() - stored),
            doubled=len(rows) - len(stored),
        )


def quantile(values: Sequence[int], share: float) -> int:
    """The value below which a `share` of the values lies; -1 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else -1
