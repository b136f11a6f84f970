"""Who may do what with PostgreSQL, and how its schema and partitions are made: on a real cluster."""

import dataclasses
import subprocess
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import psycopg2.errors
import pytest

from ops.local.postgres import ROLES, system_user
from services.common.database import connect

SERIES, NOW = 2**40, datetime.now(UTC).replace(microsecond=0)
WINDOW = (SERIES, NOW, 1, 1.0, 0.0, 1.0, 1.0)
INSERT_WINDOW = "INSERT INTO window_1s VALUES (%s, %s, %s, %s, %s, %s, %s)"


@pytest.fixture
def session(postgres):
    """Connections by role; what they do is rolled back at the end."""
    connections = []

    def open_session(role):
        connections.append(connect(postgres.settings(role), "test"))
        return connections[-1].cursor()

    yield open_session
    for connection in connections:
        connection.close()


def raw_connection(postgres, **other):
    """A connection with libpq's own words, to try what our clients never do."""
    settings = postgres.settings("dashboard")
    return psycopg2.connect(
        **{
            "host": settings.host,
            "port": settings.port,
            "dbname": settings.name,
            "user": settings.user,
            "password": settings.password,
            "sslmode": "verify-full",
            "sslrootcert": str(settings.ca_file),
            "connect_timeout": 5,
        }
        | other
    )


@pytest.mark.parametrize("role", ROLES)
def test_every_role_enters_with_its_password(session, role):
    """Each role connects over TLS 1.2 or newer with the password in its file."""
    cursor = session(role)
    cursor.execute("SELECT current_user, version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
    user, version = cursor.fetchone()
    assert user == role
    assert version in ("TLSv1.2", "TLSv1.3")


def test_plaintext_is_refused(postgres):
    """Without TLS nobody is let in, not even with the right password."""
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        raw_connection(postgres, sslmode="disable")


def test_wrong_password_is_refused(postgres):
    """A wrong password opens nothing."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        raw_connection(postgres, password="guess")


def test_every_password_is_its_own(postgres):
    """No role opens with the password of another."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        raw_connection(postgres, password=postgres.settings("owner").password)


def test_server_under_another_name_is_not_trusted(postgres, tmp_path):
    """A client that knows another authority does not talk to this server."""
    stranger = tmp_path / "ca.crt"
    stranger.write_bytes((postgres.certificates / "postgres.crt").read_bytes())
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        raw_connection(postgres, sslrootcert=str(stranger))


@pytest.mark.parametrize("role", ["ingest_reader", "dashboard", "grafana_reader", "exporter"])
@pytest.mark.parametrize("table", ["window_1s", "window_10s", "window_60s", "window_1s_{today:%Y%m%d}"])
def test_only_the_stream_writes_windows(session, role, table):
    """Who looks at windows cannot write one, into the table or into one of its partitions."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session(role).execute(INSERT_WINDOW.replace("window_1s", table.format(today=NOW)), WINDOW)


@pytest.mark.parametrize("table", ["message", "window_1s", "text_reading", "device", "session", "quarantine", "batch"])
@pytest.mark.parametrize("role", ["ingest_reader", "exporter"])
def test_ingest_cannot_read_sensor_data(session, role, table):
    """Ingest knows tokens and no data; the exporter knows statistics only."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session(role).execute(f"SELECT * FROM {table}")


def test_exporter_counts_phones_and_names_none(session):
    """It may know when devices were last seen, for the number of phones that record, and nothing else of them."""
    session("exporter").execute("SELECT count(*) FILTER (WHERE last_seen > now() - interval '1 minute') FROM device")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session("exporter").execute("SELECT device FROM device")


@pytest.mark.parametrize("role", ["stream_writer", "grafana_reader", "exporter"])
def test_tokens_are_kept_from_others(session, role):
    """Only ingest and the dashboard, which manages them, read tokens."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session(role).execute("SELECT sha256 FROM ingest_token")


def test_ingest_cannot_make_a_token(session):
    """Ingest may note the use of a token, but not make one or change its secret."""
    session("ingest_reader").execute("UPDATE ingest_token SET last_seen = now()")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session("ingest_reader").execute("UPDATE ingest_token SET sha256 = ''")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session("ingest_reader").execute("INSERT INTO ingest_token (name, sha256) VALUES ('mine', '')")


@pytest.mark.parametrize("role", [role for role in ROLES if role != "owner"])
def test_services_make_no_tables(session, role):
    """No service can make, change or drop a table."""
    for statement in ("CREATE TABLE mine (n int)", "DROP TABLE window_1s", "TRUNCATE message"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            session(role).execute(statement)


@pytest.mark.parametrize("table", ["message", "window_1s", "batch", "message_ledger", "quarantine"])
def test_stream_deletes_nothing(session, table):
    """The stream adds and merges; what is stored it cannot delete."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session("stream_writer").execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("role", [role for role in ROLES if role != "exporter"])
def test_other_databases_are_closed(postgres, role):
    """The cluster's own databases are for the superuser (and the exporter's statistics)."""
    settings = dataclasses.replace(postgres.settings(role), name="postgres")
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        connect(settings, "test")


def test_nothing_of_durability_is_traded(session):
    """Whatever makes the server small, a committed row stays committed."""
    cursor = session("dashboard")
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        cursor.execute("SELECT current_setting(%s)", (name,))
        assert cursor.fetchone() == ("on",), name


def schema(session):
    """Every table and column, and the revision of the schema."""
    cursor = session("owner")
    cursor.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
    )
    columns = sorted(cursor.fetchall())
    cursor.execute("SELECT version_num FROM alembic_version")
    return columns, cursor.fetchall()


def test_roles_and_migrations_may_run_again(postgres, session):
    """A second run of roles and migrations changes nothing."""
    before = schema(session)
    postgres.make_roles()
    postgres.migrate()
    assert schema(session) == before


def partitions(cursor, table):
    cursor.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", (table,)
    )
    return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize(
    ("table", "length"),
    [("message", 7), ("window_1s", 14), ("window_10s", 180), ("window_60s", 1826), ("text_reading", 180)],
)
def test_partitions_span_all_that_is_kept(session, table, length):
    """From the oldest time that is kept until three days ahead every time has a partition."""
    cursor = session("owner")
    form = {"message": "%Y%m%d", "window_1s": "%Y%m%d", "window_60s": "%Y"}.get(table, "%Y%m")
    days = [NOW + timedelta(days=number) for number in range(-length, 4)]
    assert partitions(cursor, table) == sorted({f"{table}_{day:{form}}" for day in days})


def test_partitions_are_made_once(session):
    """What has its partition gets no other one; days further ahead get theirs."""
    cursor = session("stream_writer")
    cursor.execute("SELECT make_partitions(3)")
    assert cursor.fetchone() == (0,)
    cursor.execute("SELECT make_partitions(5)")
    assert cursor.fetchone()[0] >= 2 * 2


def test_row_lands_in_the_partition_of_its_day(session):
    """A window lies in the partition of its day."""
    cursor = session("stream_writer")
    cursor.execute(INSERT_WINDOW, WINDOW)
    cursor.execute("SELECT tableoid::regclass::text FROM window_1s WHERE series_id = %s", (SERIES,))
    assert cursor.fetchall() == [(f"window_1s_{NOW:%Y%m%d}",)]


def test_partitions_are_closed_to_who_may_not_read_them(session):
    """A partition gives no right of its own: the dashboard reads it through its table only."""
    cursor = session("owner")
    cursor.execute(f"SELECT has_table_privilege('dashboard', 'message_{NOW:%Y%m%d}', 'SELECT')")
    assert cursor.fetchone() == (False,)


def test_cluster_outlives_a_kill(new_postgres):
    """What was committed is there after `kill -9` of the server, and it starts again by itself."""
    server = new_postgres("killed")
    server.start()
    try:
        device = f"device-{uuid.uuid4()}"
        with closing(connect(server.settings("stream_writer"), "test")) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO device (device, first_seen, last_seen) VALUES (%s, now(), now())", (device,))
            connection.commit()
            server.kill()
        server.start()
        with closing(connect(server.settings("dashboard"), "test")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM device WHERE device = %s", (device,))
            assert cursor.fetchone() == (1,)
    finally:
        server.stop()


def test_killed_server_does_not_stop_the_next_start(new_postgres):
    """A lock file with the id of a process that is there, as a killed server's may be, is removed before a start."""
    server = new_postgres("stale")
    server.start()
    server.kill()
    lock = server.part.cluster / "postmaster.pid"
    with subprocess.Popen(["sleep", "600"], user=system_user(), cwd="/") as other:
        lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:]]) + "\n")
        try:
            server.part.prepare()
            server.start()
            assert server.stop()
        finally:
            other.kill()
