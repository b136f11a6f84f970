"""It adds up, whatever is stored, repeated, quarantined, deleted or too old; and where it does not, that is noticed."""

import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import psycopg2.errors
import pytest

from services.common.database import connect
from services.stream import count, sql
from services.stream.check import NAMES, stored_sums
from tests.integration.storing import NOW_NS, message

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def postgres(new_postgres):
    """A database that holds nothing but what these tests store: the sums are over all of it."""
    server = new_postgres("counted")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def owner(postgres):
    """Whoever can damage things."""
    with closing(connect(postgres.settings("owner"), "test")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@pytest.fixture
def dashboard(postgres):
    """Whoever deletes sessions and devices."""
    with closing(connect(postgres.settings("dashboard"), "test")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def differences(partition, which=count.CHANGED):
    """The sums that differ, by name, and how many hours were counted for that."""
    with partition.connection.cursor() as cursor:
        counted = count.count(cursor, which)
        sums = list(stored_sums(cursor, counted))
        count.note(cursor, counted)
    partition.connection.commit()
    assert [line.name for line in sums] == [name for name in NAMES if name != "offsets"]
    return {line.name: line.found - line.expected for line in sums if line.found != line.expected}, counted


def readings(number):
    return [
        ("location", NOW_NS + number * 60 * 10**9, {"speed": -1, "bearing": 3.5, "latitude": 52.5}),
        ("note", NOW_NS + number * 60 * 10**9, {"text": f"text {number}"}),
        ("s", NOW_NS - 20 * DAY_NS, {"x": 1.0}),
        ("s", NOW_NS - 400 * DAY_NS, {"x": 1.0, "t": "old"}),
        ("s", 5, {"x": 1.0}),
    ]


def store_a_mixture(partition, device, session="s"):
    """Messages over two hours with old, bad and repeated ones; returns their records."""
    messages = [message(device, number, *readings(number), session=session) for number in range(70)]
    records = partition.records(*messages, messages[3], b"broken", None)
    partition.store(records)
    return records


def count_rows(cursor, device):
    """Rows of a device by table."""
    of_session = "SELECT session_id FROM session JOIN device USING (device_id) WHERE device = %(device)s"
    of_series = f"SELECT series_id FROM series WHERE session_id IN ({of_session})"
    counts = {}
    for table in ("window_1s", "window_10s", "window_60s", "text_reading"):
        cursor.execute(f"SELECT count(*) FROM {table} WHERE series_id IN ({of_series})", {"device": device})
        counts[table] = cursor.fetchone()[0]
    cursor.execute(f"SELECT count(*) FROM message WHERE session_id IN ({of_session})", {"device": device})
    return counts | {"message": cursor.fetchone()[0]}


def session_of(cursor, device):
    """(session_id, device_id) of the only visible session of a device."""
    cursor.execute(
        "SELECT session_id, device_id FROM session JOIN device USING (device_id) WHERE device = %s AND messages > 0",
        (device,),
    )
    [row] = cursor.fetchall()
    return row


def purge(cursor):
    """Remove all that was deleted, as the stream does."""
    removed = True
    while removed:
        cursor.execute(sql.PURGE_STEP)
        [removed] = cursor.fetchone()


def orphans(cursor):
    """Windows and texts without a series, messages without a session."""
    cursor.execute(
        """SELECT (SELECT count(*) FROM window_1s WHERE series_id NOT IN (SELECT series_id FROM series))
                + (SELECT count(*) FROM window_60s WHERE series_id NOT IN (SELECT series_id FROM series))
                + (SELECT count(*) FROM text_reading WHERE series_id NOT IN (SELECT series_id FROM series))
                + (SELECT count(*) FROM message WHERE session_id NOT IN (SELECT session_id FROM session))"""
    )
    return cursor.fetchone()[0]


def test_mixture_adds_up(partition, device):
    """Late, old, repeated, quarantined and unknown values: every sum agrees, counted over all rows."""
    store_a_mixture(partition, device)
    assert differences(partition, count.ALL)[0] == {}


def test_counted_hours_are_not_counted_again(partition, device):
    """What was counted is left alone until something changes in that hour."""
    store_a_mixture(partition, device)
    differences(partition)
    assert differences(partition)[1].sessions == []
    partition.store(partition.records(message(device, 70, ("s", NOW_NS, {"x": 1.0}))))
    [(_, hour, _, is_right)] = differences(partition)[1].sessions
    assert (hour, is_right) == (NOW_NS // (3600 * 10**9), True)


DAMAGES = {
    "windows_1s": "DELETE FROM window_1s WHERE series_id IN ({series}) AND start > now() - interval '1 day'",
    "windows_10s": "UPDATE window_10s SET count = count + 1 WHERE series_id IN ({series})",
    "windows_60s": "DELETE FROM window_60s WHERE series_id IN ({series})",
    "texts": "DELETE FROM text_reading WHERE series_id IN ({series})",
    "messages": "DELETE FROM message WHERE session_id IN ({session}) AND number = 5",
    "message_readings": "UPDATE message SET readings = 3 WHERE session_id IN ({session}) AND number = 5",
    "ledger_numbers": "UPDATE message_ledger SET numbers = '{{}}' WHERE session_id IN ({session})",
    "ledger": "UPDATE message_ledger SET messages = messages + 1 WHERE session_id IN ({session})",
    "numeric_values": "UPDATE session SET numeric_values = 0 WHERE session_id IN ({session})",
    "text_values": "UPDATE session SET text_values = 0 WHERE session_id IN ({session})",
    "session_messages": "UPDATE session SET messages = messages - 1 WHERE session_id IN ({session})",
    "session_readings": "UPDATE session SET readings = readings - 1 WHERE session_id IN ({session})",
    "session_late": "UPDATE session SET late = late + 1 WHERE session_id IN ({session})",
    "session_not_known": "UPDATE session SET not_known = 0 WHERE session_id IN ({session})",
    "quarantine_records": "DELETE FROM quarantine WHERE topic = '{topic}' AND position = -1",
    "quarantine_readings": "DELETE FROM quarantine WHERE topic = '{topic}' AND position >= 0",
    "records": "UPDATE partition_progress SET records = records + 1 WHERE topic = '{topic}'",
    "readings": "UPDATE partition_progress SET readings = readings - 1 WHERE topic = '{topic}'",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed(partition, device, owner, name):
    """Whatever is missing or too much anywhere, the sum that speaks of it differs; even where it was counted before."""
    store_a_mixture(partition, device)
    assert differences(partition, count.ALL)[0] == {}
    session_id, _ = session_of(owner, device)
    series = f"SELECT series_id FROM series WHERE session_id = {session_id}"
    owner.execute("BEGIN")
    owner.execute(DAMAGES[name].format(session=session_id, series=series, topic=partition.topic))
    counted = count.count(owner, count.ALL)
    assert name in {line.name for line in stored_sums(owner, counted) if line.found != line.expected}
    owner.execute("ROLLBACK")


def test_difference_stays_until_it_is_mended(partition, device, owner):
    """An hour that was found wrong is counted every time, and is right again when the rows are back."""
    store_a_mixture(partition, device)
    session_id, _ = session_of(owner, device)
    of_session = "series_id IN (SELECT series_id FROM series WHERE session_id = %s) AND start > now() - interval '1 d'"
    owner.execute(f"UPDATE window_1s SET count = count + 1 WHERE {of_session}", (session_id,))
    assert differences(partition)[0].keys() == {"windows_1s"}
    found, counted = differences(partition)
    assert found.keys() == {"windows_1s"}
    assert any(f"session_id {session_id}" in place for place in counted.wrong)
    owner.execute(f"UPDATE window_1s SET count = count - 1 WHERE {of_session}", (session_id,))
    assert differences(partition)[0] == {}


def test_deleted_session_is_gone_and_stays_gone(partition, device, dashboard):
    """A deleted session is in no table; neither the topic's replay nor a repetition brings any of it back."""
    records = store_a_mixture(partition, device)
    session_id, _ = session_of(dashboard, device)
    dashboard.execute("SELECT * FROM delete_session(%s)", (session_id,))
    assert dashboard.fetchone() == (1, 70, 4 * 70)
    assert differences(partition)[0] == {}
    with partition.connection.cursor() as cursor:
        purge(cursor)
    partition.connection.commit()
    assert set(count_rows(dashboard, device).values()) == {0}
    assert orphans(dashboard) == 0
    partition.query_id, partition.batch_id = str(uuid.uuid4()), 0
    again = partition.store(records)
    assert (again.messages, again.deleted, again.duplicates) == (0, 71, 2)  # those in quarantine are no session's
    assert set(count_rows(dashboard, device).values()) == {0}
    assert differences(partition, count.ALL)[0] == {}


def test_deleting_twice_deletes_once(partition, device, dashboard):
    """A second deletion, or one of a session that never was, deletes nothing."""
    store_a_mixture(partition, device)
    session_id, _ = session_of(dashboard, device)
    for deleted in (1, 0):
        dashboard.execute("SELECT sessions FROM delete_session(%s)", (session_id,))
        assert dashboard.fetchone() == (deleted,)
    assert differences(partition)[0] == {}


def test_phone_that_goes_on_recording_is_seen_again(partition, device, dashboard):
    """What was acknowledged before the deletion and not stored yet is not stored; what is sent after it is."""
    store_a_mixture(partition, device)
    dashboard.execute("SELECT delete_session(%s)", (session_of(dashboard, device)[0],))
    [waiting] = partition.records(message(device, 70, ("s", NOW_NS, {"x": 1.0})))
    [new] = partition.records(message(device, 71, ("s", NOW_NS, {"x": 2.0})))
    later_us = int((datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1e6)
    [repeated] = partition.records(message(device, 3, *readings(3)))
    receipt = partition.store([waiting, new._replace(broker_us=later_us), repeated._replace(broker_us=later_us)])
    assert (receipt.messages, receipt.deleted, receipt.duplicates) == (1, 1, 1)
    assert count_rows(dashboard, device) | {"window_1s": 1, "message": 1} == count_rows(dashboard, device)
    assert differences(partition, count.ALL)[0] == {}


def test_deleted_device_is_gone_with_its_quarantine(partition, device, dashboard):
    """All sessions, the name and the quarantine of a device are deleted, also what waits in Kafka of new sessions."""
    store_a_mixture(partition, device, "one")
    records = partition.records(message(device, 1, *readings(1), session="two"), b"broken too")
    partition.store([record._replace(key=device.encode()) for record in records])
    dashboard.execute("SELECT device_id FROM device WHERE device = %s", (device,))
    dashboard.execute("SELECT * FROM delete_device(%s)", dashboard.fetchone())
    assert dashboard.fetchone() == (2, 71, 4 * 71)
    where = "SELECT count(*) FROM quarantine WHERE device = %s OR key = %s"
    assert partition.query(where, device, device.encode()) == [(0,)]
    [waiting] = partition.records(message(device, 0, *readings(0), session="three"))
    replayed = [record._replace(key=device.encode()) for record in records]
    partition.query_id = str(uuid.uuid4())
    assert partition.store([*replayed, waiting]).deleted == 3
    of_device = "SELECT count(*) FROM session JOIN device USING (device_id) WHERE device = %s AND session = 'three'"
    assert partition.query(of_device, device) == [(0,)]
    assert differences(partition, count.ALL)[0] == {}


def test_deletion_waits_for_the_stream(partition, device, dashboard):
    """While a transaction stores for that device the deletion waits, five seconds at most, and then says so."""
    store_a_mixture(partition, device)
    session_id, _ = session_of(dashboard, device)
    partition.store(partition.records(message(device, 99, ("s", NOW_NS, {"x": 1.0}))), commit=False)
    dashboard.execute("SET lock_timeout = '100ms'")
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        dashboard.execute("SELECT delete_session(%s)", (session_id,))
    partition.connection.commit()
    dashboard.execute("SELECT messages FROM delete_session(%s)", (session_id,))
    assert dashboard.fetchone() == (71,)


@pytest.mark.parametrize("role", ["grafana_reader", "ingest_reader", "exporter", "stream_writer"])
def test_only_the_dashboard_deletes(postgres, role):
    """No other role may delete a session or a device."""
    with closing(connect(postgres.settings(role), "test")) as connection, connection.cursor() as cursor:
        for function in ("delete_session", "delete_device"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(f"SELECT {function}(1)")
            connection.rollback()


def lower_age(owner, table, days):
    owner.execute("UPDATE retention SET days = %s WHERE kept = %s RETURNING days", (days, table))


@pytest.fixture
def short_ages(owner):
    """Ages that are back to what they were at the end. What was dropped stays so: nothing else needs it."""
    owner.execute("SELECT kept, days FROM retention")
    before = owner.fetchall()
    yield lambda table, days: lower_age(owner, table, days)
    for table, days in before:
        lower_age(owner, table, days)


def drop_all(connection, table):
    names = []
    with connection.cursor() as cursor:
        while True:
            cursor.execute(sql.DROP_PARTITION, (table,))
            [name] = cursor.fetchone()
            connection.commit()
            if name is None:
                return names
            names.append(name)


def test_old_partitions_are_dropped_and_it_still_adds_up(partition, device, owner, short_ages):
    """With a lower age the older partitions go, later old readings are left to the coarser windows, and sums agree."""
    old = ("s", NOW_NS - 10 * DAY_NS, {"x": 1.0, "t": "a"})
    partition.store(partition.records(message(device, 0, old, ("s", NOW_NS, {"x": 1.0}))))
    assert count_rows(owner, device)["window_1s"] == 2
    short_ages("window_1s", 5)
    dropped = drop_all(partition.connection, "window_1s")
    assert f"window_1s_{datetime.now(UTC) - timedelta(days=10):%Y%m%d}" in dropped
    assert count_rows(owner, device)["window_1s"] == 1
    receipt = partition.store(partition.records(message(device, 1, old)))
    assert receipt.messages == 1
    assert count_rows(owner, device) == {
        "window_1s": 1, "window_10s": 2, "window_60s": 2, "text_reading": 2, "message": 2,
    }  # fmt: skip
    assert differences(partition, count.ALL)[0] == {}
    owner.execute("SELECT kept_from FROM retention WHERE kept = 'window_1s'")
    [(kept_from,)] = owner.fetchall()
    assert timedelta(days=5) <= datetime.now(UTC) - kept_from < timedelta(days=6)


@pytest.mark.parametrize("busy", ["reader", "writer"])
def test_dropping_gives_way(postgres, partition, device, short_ages, busy):
    """Nobody waits for a partition to be dropped: while somebody reads or stores, it is left for later."""
    short_ages("window_1s", 4 if busy == "reader" else 3)
    if busy == "writer":
        partition.store(partition.records(message(device, 0, ("s", NOW_NS, {"x": 1.0}))), commit=False)
    with closing(connect(postgres.settings("dashboard"), "test")) as other, other.cursor() as cursor:
        if busy == "reader":
            cursor.execute("SELECT count(*) FROM window_1s")
        with closing(connect(postgres.settings("stream_writer"), "test")) as connection:
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                drop_all(connection, "window_1s")
            connection.rollback()
            (partition.connection if busy == "writer" else other).rollback()
            assert drop_all(connection, "window_1s")


def test_what_is_too_old_leaves_its_sums(partition, device, owner):
    """Old batches and quarantine expire; the sums know of them, and a replay still finds duplicates."""
    records = store_a_mixture(partition, device)
    ago = "now() - interval '100 days'"
    owner.execute(f"UPDATE batch SET committed_at = {ago} WHERE topic = %s", (partition.topic,))
    owner.execute(f"UPDATE quarantine SET quarantined_at = {ago} WHERE topic = %s", (partition.topic,))
    with partition.connection.cursor() as cursor:
        cursor.execute(sql.EXPIRE, (1000,))
        [expired] = cursor.fetchone()
    partition.connection.commit()
    assert expired == 1 + 2 + 70
    assert partition.query("SELECT count(*) FROM quarantine WHERE topic = %s", partition.topic) == [(0,)]
    assert differences(partition, count.ALL)[0] == {}
    partition.query_id = str(uuid.uuid4())
    assert partition.store(records[:70]).duplicates == 70


def test_forgotten_session(partition, device, owner):
    """A deleted session is forgotten, ledger and all, when Kafka can no longer replay it; its device with it."""
    store_a_mixture(partition, device)
    _, device_id = session_of(owner, device)
    owner.execute("SELECT delete_device(%s)", (device_id,))
    owner.execute("UPDATE session SET last_seen = now() - interval '31 days' WHERE device_id = %s", (device_id,))
    owner.execute("SELECT expire(1000)")
    for table in ("session", "device"):
        owner.execute(f"SELECT count(*) FROM {table} WHERE device_id = %s", (device_id,))
        assert owner.fetchone() == (0,)
    assert differences(partition, count.ALL)[0] == {}


def test_stream_that_meets_no_partition_makes_it(postgres, partition, device, owner, monkeypatch):
    """A day that nobody made a partition for does not put its readings into quarantine: it is made."""
    from services.stream import task

    for name, value in postgres.environment("stream_writer").items():
        monkeypatch.setenv(name, value)
    owner.execute(f"DROP TABLE window_1s_{datetime.fromtimestamp(NOW_NS / 1e9, UTC):%Y%m%d}")
    try:
        with pytest.raises(psycopg2.errors.CheckViolation):
            partition.store(partition.records(message(device, 0, ("s", NOW_NS, {"x": 1.0}))))
        partition.connection.rollback()
        receipt = task._attempt(
            lambda connection: partition.store(
                partition.records(message(device, 1, ("s", NOW_NS, {"x": 1.0}))), commit=False, connection=connection
            ),
            keep=True,
        )
    finally:
        task._disconnect()
    assert (receipt.messages, receipt.retries) == (1, 1)
