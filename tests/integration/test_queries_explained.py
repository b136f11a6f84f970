"""Every question of the dashboard on a large data set: answered by indexes, never by reading a table through.

`SENSOR_STREAM_ROWS` says how many rows are made, 600,000 if it is not set; `make test-queries` makes ten million.
"""

import contextlib
import inspect
import json
import os
import time
from functools import cache, partial

import pytest

from services.common.database import connect
from services.dashboard.database import Database
from services.dashboard.queries import MessageRow, Queries
from services.dashboard.queries.history import HistoryQueries
from services.dashboard.queries.phones import PhoneQueries
from services.dashboard.queries.sessions import SessionQueries

ROWS = int(os.environ.get("SENSOR_STREAM_ROWS", "600000"))
DEVICES = 1000
SESSIONS = 10_000
CHANNELS = 8
REGISTRY = {"device", "session", "ingest_token"}  # searched and sorted by anything: read through by the lists of them
FEW_ROWS = 50  # fewer are on one page: there is nothing faster than to read it
DAY_MS = 86_400_000

FILL = f"""
INSERT INTO device (device, first_seen, last_seen)
SELECT 'device-' || n, now(), now() FROM generate_series(1, {DEVICES}) AS n;
INSERT INTO session (device_id, session, first_time, last_time, last_seen, messages, readings)
SELECT 1 + n %% {DEVICES}, 'session-' || n, now() - n * interval '3 minutes', now() - n * interval '2 minutes',
       now() - n * interval '3 minutes', 100, 1000 FROM generate_series(1, {SESSIONS}) AS n;
INSERT INTO series (session_id, sensor, channel)
SELECT session_id, 'sensor-' || channel %% 3, 'channel-' || channel
FROM session, generate_series(1, {CHANNELS}) AS channel;
INSERT INTO window_1s (series_id, start, count, mean, m2, min, max)
SELECT 1 + n %% 200, date_trunc('second', now()) - (n / 200) * interval '1 second', 10, n %% 7, 1, 0, 9
FROM generate_series(0, %(rows)s / 4) AS n;
INSERT INTO window_10s (series_id, start, count, mean, m2, min, max)
SELECT 1 + n %% 200, date_bin('10 seconds', now(), 'epoch') - (n / 200) * interval '10 seconds',
       10, n %% 7, 1, 0, 9
FROM generate_series(0, %(rows)s / 8) AS n;
INSERT INTO window_60s (series_id, start, count, mean, m2, min, max)
SELECT 1 + n %% 200, date_bin('60 seconds', now(), 'epoch') - (n / 200) * interval '60 seconds',
       10, n %% 7, 1, 0, 9
FROM generate_series(0, %(rows)s / 4) AS n;
INSERT INTO message (session_id, number, first_time, last_time, broker_time, topic, partition, "offset", readings,
                     numbers, texts, body)
SELECT 1 + n %% 200, n / 200, now() - n * interval '1 millisecond' * (518400000.0 / %(rows)s),
       now() - n * interval '1 millisecond' * (518400000.0 / %(rows)s) + interval '200 milliseconds',
       now() - n * interval '1 millisecond' * (518400000.0 / %(rows)s) + interval '300 milliseconds',
       'sensor-messages', 0, %(rows)s - n, 10, 30, n %% 2, '\\x00'
FROM generate_series(0, %(rows)s / 8) AS n;
INSERT INTO text_reading (series_id, time_ns, number, position, value)
SELECT 201 + n %% 200, (extract(epoch FROM now()) * 1e9)::bigint - (n / 200) * 1000000000::bigint, n, 0,
       'state ' || n %% 5
FROM generate_series(0, %(rows)s / 8) AS n;
INSERT INTO message_ledger (session_id, hour, numbers)
SELECT 1 + n %% {SESSIONS}, extract(epoch FROM now())::bigint / 3600 - n / {SESSIONS}, '{{[0,50),[52,90)}}'
FROM generate_series(0, %(rows)s / 20) AS n;
INSERT INTO batch (query_id, batch_id, topic, partition, offset_from, offset_until, records, messages, duplicates,
                   quarantined, readings, readings_stored, readings_duplicate, readings_quarantined, committed_at)
SELECT '00000000-0000-0000-0000-000000000000', n, 'sensor-messages', 0, n * 10, n * 10 + 10, 0, 0, 0, 0, 0, 0, 0, 0,
       now() - n * interval '1 second' FROM generate_series(0, %(rows)s / 20) AS n;
INSERT INTO partition_progress
SELECT 'sensor-messages', n, '{{}}', 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(0, 1) AS n;
"""


@cache
def now_ms():
    """When the first question is asked, which is just after the rows were made: the tests before take long."""
    return time.time() * 1000


class Explaining(Database):
    """Also asks for the plan of every statement before it is run, with its values in place."""

    def __init__(self, open_connection):
        super().__init__(open_connection, 1)
        self.plans = {}
        self.sizes = dict(super().rows("sizes", "SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'"))

    def rows(self, name, statement, parameters=None):
        [[plan]] = super().rows("explain", f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        plan = json.loads(plan) if isinstance(plan, str) else plan
        self.plans.setdefault(name, []).append(plan[0]["Plan"])
        return super().rows(name, statement, parameters)


@pytest.fixture(scope="module")
def database(new_postgres):
    """A database full of what years of many phones leave, and the dashboard's connection to it."""
    cluster = new_postgres("explained-postgres")
    cluster.start()
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT make_partitions(2)")
            cursor.execute(FILL, {"rows": ROWS})
        connection.autocommit = True
        connection.cursor().execute("ANALYZE")
    yield Explaining(partial(connect, cluster.settings("dashboard"), "test", 60.0))
    cluster.stop()


def live_questions(queries):
    """Each question of the Live page, as it is asked of a recording with much in it."""
    series = list(range(1, 1 + CHANNELS))
    return {
        "is_answered": queries.is_answered,
        "recent_sessions": queries.recent_sessions,
        "find_session": lambda: (
            queries.find_session("device-7", None) and queries.find_session("device-7", "session-6")
        ),
        "series": lambda: queries.series(3),
        "newest_spans": lambda: queries.newest_spans(3),
        "look": lambda: queries.look(3, {0: ROWS - 1000}, int((now_ms() - 3_600_000) * 1000), int(now_ms() * 1000)),
        "windows": lambda: [
            queries.windows(series, step, now_ms() - step * 600_000, now_ms()) for step in (1, 2, 10, 30, 60, 3600)
        ],
        "newest_windows": lambda: queries.newest_windows(series, now_ms() - DAY_MS),
        "text_changes": lambda: queries.text_changes({201: False, 202: True}, now_ms() - 600_000, now_ms(), 300),
        "text_at": lambda: queries.text_at(26, "sensor-1", "channel-1", now_ms()) is None,
    }


def history_questions(queries):
    """Each question of the History page and of exports."""
    series = list(range(1, 1 + CHANNELS))
    first = MessageRow(0, 0, int((now_ms() - DAY_MS) * 1000), 0, 0, 0, None)
    hour = int(now_ms() // 3_600_000)
    return {
        "sessions_of": lambda: queries.sessions_of("device-7"),
        "series_of": lambda: queries.series_of(list(range(1, 1 + 40))),
        "kept": queries.kept,
        "windows": lambda: [
            queries.windows(series, step, now_ms() - step * 1_000_000, now_ms()) for step in (1, 2, 10, 30, 60, 21_600)
        ],
        "numbers": lambda: queries.numbers(3, now_ms() - DAY_MS, now_ms()),
        "ledger": lambda: queries.ledger([3, 4, 5], hour - 100, hour),
        "ledger_hours": lambda: queries.ledger_hours(3),
        "traces": lambda: queries.traces([(3, now_ms() - 600_000), (4, now_ms() - 60_000)]),
        "bodies": lambda: queries.bodies(3, now_ms() - 600_000, now_ms()),
        "bodies_after": lambda: queries.bodies_after(3, None) and queries.bodies_after(3, first),
    }


def phone_questions(queries):
    """Each question of the Phones page."""
    return {
        "phones": queries.phones,
        "unbound_tokens": lambda: queries.unbound_tokens() == [],
        "arrival": lambda: queries.arrival("nobody") is None,
    }


def session_questions(queries):
    """Each question of the Sessions page."""
    return {
        "count": lambda: [queries.count(search) for search in ("", "session-77")],
        "page": lambda: [queries.page("", order, 3) for order in ("newest", "heard", "length", "phone")],
        "one": lambda: queries.one(3),
        "rates": lambda: queries.rates(list(range(3, 28))),
        "newest_messages": lambda: queries.newest_messages(list(range(3, 28))),
    }


@pytest.mark.parametrize(
    ("kind", "questions", "lists"),
    [
        (Queries, live_questions, set()),
        (HistoryQueries, history_questions, set()),
        (PhoneQueries, phone_questions, REGISTRY),
        (SessionQueries, session_questions, REGISTRY),
    ],
    ids=["live", "history", "phones", "sessions"],
)
def test_every_question_is_answered_by_an_index(database, kind, questions, lists):
    """No statement reads a table through that grows; each finds something, and none is left out of this test."""
    asked = questions(kind(database))
    public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    assert public == set(asked)
    database.plans.clear()
    for name, ask in asked.items():
        assert ask(), name
    found = {name: read_through(plan, database) - lists for name, plans in database.plans.items() for plan in plans}
    assert {name: tables for name, tables in found.items() if tables} == {}


def test_reading_through_is_noticed(database):
    """The check above would fail for a statement that no index answers."""
    database.plans.clear()
    database.rows("bad", "SELECT count(*) FROM window_60s WHERE mean > 3")
    [plan] = database.plans["bad"]
    assert any(table.startswith("window_60s") for table in read_through(plan, database))


def read_through(plan, database):
    """The tables and partitions with more than a page of rows that a plan reads from beginning to end."""
    tables = set()
    if plan["Node Type"] == "Seq Scan" and database.sizes[plan["Relation Name"]] > FEW_ROWS:
        tables.add(plan["Relation Name"])
    for part in plan.get("Plans", []):
        tables |= read_through(part, database)
    return tables
