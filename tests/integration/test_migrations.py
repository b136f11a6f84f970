"""A database with data of an earlier schema becomes one of today's, with all its data that is still kept."""

import sys
from contextlib import closing

import pytest

from ops.local.postgres import Postgres
from ops.local.processes import REPOSITORY, Command, run
from services.common.database import connect
from services.stream import count
from services.stream.check import stored_sums

FIRST = "0002"
EARLIER_DATA = [
    "SELECT make_partitions(current_date - 1, current_date + 3)",
    "INSERT INTO device (device, first_seen, last_seen) VALUES ('d', now(), now())",
    "INSERT INTO session (device_id, session, last_seen, messages, readings) VALUES (1, 's', now(), 3, 30)",
    """INSERT INTO series (session_id, sensor, channel)
    VALUES (1, 'o', 'yaw'), (1, 'o', 'x'), (1, 'p', 'steps'), (1, 'n', 't')""",
    *(
        f"""INSERT INTO window_{resolution}s
        SELECT series, date_trunc('minute', now()) - number * {age}, 10, 1, 0, 1, 1
        FROM generate_series(1, 3) AS series, generate_series(0, 30) AS number"""
        for resolution in (1, 10, 60)
        for age in ("interval '1 minute'", "interval '10 days' - interval '40 days'")
    ),
    """INSERT INTO message SELECT 1, number, now() - interval '30 days', now(), now(), 't', 0, number, 10, 1, 1, 'x'
    FROM generate_series(0, 2) AS number""",
    """INSERT INTO text_reading
    SELECT 4, extract(epoch FROM now() - number * interval '20 days')::bigint * 1000000000, 0, 0, 'a'
    FROM generate_series(0, 20) AS number""",
    "INSERT INTO message_ledger VALUES (1, floor(extract(epoch FROM now()) / 3600), '{[0,3)}')",
    "INSERT INTO partition_progress VALUES ('t', 0, '{[0,3)}', 3, 3, 0, 0, 30, 30, 0, 0)",
]


def migrate(postgres, revision):
    environment = postgres.environment("owner") | {"OWNER_PASSWORD_FILE": str(postgres.password_file("owner"))}
    configuration = str(REPOSITORY / "ops" / "postgres" / "alembic.ini")
    run(Command([sys.executable, "-m", "alembic", "-c", configuration, "upgrade", revision], environment), "migrations")


@pytest.fixture
def earlier(new_postgres, monkeypatch):
    """A cluster whose schema is an earlier one, with data in it."""
    monkeypatch.setattr(Postgres, "migrate", lambda postgres: migrate(postgres, FIRST))
    server = new_postgres("earlier")
    server.start()
    with closing(connect(server.settings("owner"), "test")) as connection, connection, connection.cursor() as cursor:
        for statement in EARLIER_DATA:
            cursor.execute(statement)
    yield server
    server.stop()


def test_data_of_an_earlier_schema_is_carried_over(earlier):
    """After the migrations all sums agree, angles and counters are known, and what is kept is there."""
    migrate(earlier, "head")
    with closing(connect(earlier.settings("stream_writer"), "test")) as connection, connection.cursor() as cursor:
        counted = count.count(cursor, count.ALL)
        assert [line for line in stored_sums(cursor, counted) if line.expected != line.found] == []
        cursor.execute("SELECT channel FROM series WHERE turn IS NOT NULL OR is_counter ORDER BY 1")
        assert cursor.fetchall() == [("steps",), ("yaw",)]
        for table, rows in {"message": 3, "window_60s": 2 * 3 * 31}.items():
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (rows,)
