"""Another try for what is in quarantine: exactly once, and adding up."""

import contextlib
import json
import subprocess
import sys

import pytest

from services.common.database import connect
from services.stream import count
from services.stream.check import stored_sums
from services.stream.decode import DEFAULT_RULES, EARLIEST_NS, BadRecord, Rules
from services.stream.receipts import BatchKey
from services.stream.retry import NotThereError, StillBadError, retry
from services.stream.store import store
from tests.integration.storing import NOW_NS, message

LONG = Rules(keep_days=20_000)
"""Rules after a fix: a longer age makes old readings good."""
OLD_NS = EARLIEST_NS + 10**9


@pytest.fixture(scope="module")
def postgres(new_postgres):
    """A database that holds nothing but what these tests store: the sums are over all of it."""
    server = new_postgres("quarantine")
    server.start()
    yield server
    server.stop()


def differences(partition):
    with partition.connection.cursor() as cursor:
        sums = list(stored_sums(cursor, count.count(cursor, count.ALL)))
    partition.connection.rollback()
    return {line.name: line.found - line.expected for line in sums if line.found != line.expected}


def quarantined(partition):
    """The ids of what is in quarantine of the partition's topic, in order."""
    where = "SELECT quarantine_id FROM quarantine WHERE topic = %s AND retried_at IS NULL ORDER BY 1"
    return [number for (number,) in partition.query(where, partition.topic)]


def quarantine_whole(partition, *values):
    """Put messages into quarantine as records that could not be stored."""
    records = partition.records(*values)
    key = BatchKey(partition.query_id, 0, partition.topic, 0, records[0].offset, records[-1].offset + 1)
    bad = [
        BadRecord(record, "cannot_store", "A fault.", value["deviceId"], "s")
        for record, value in zip(records, values, strict=True)
    ]
    store(partition.connection, key, [], bad)
    partition.connection.commit()


def session(partition, device):
    [row] = partition.query(
        """SELECT received, readings, readings_quarantined, messages_quarantined FROM session_ledger
        WHERE device = %s""",
        device,
    )
    return row


def test_record_is_stored_after_a_fix(partition, device):
    """A record that can be stored now becomes its message, with all that belongs to it; a second try does nothing."""
    partition.store(partition.records(message(device, 0, ("s", NOW_NS, {"x": 1.0}))))
    quarantine_whole(partition, message(device, 1, ("s", NOW_NS, {"x": 3.0, "t": "a"}), ("s", 5, {"x": 1.0})))
    [quarantine_id] = quarantined(partition)
    receipt = retry(partition.connection, quarantine_id, DEFAULT_RULES)
    assert (receipt.records, receipt.messages, receipt.quarantined) == (0, 1, -1)
    assert (receipt.readings, receipt.readings_stored, receipt.readings_quarantined) == (2, 1, 1)
    assert differences(partition) == {}
    with pytest.raises(NotThereError):
        retry(partition.connection, quarantine_id, DEFAULT_RULES)
    assert differences(partition) == {}


def test_record_that_is_stored_already_is_a_duplicate(partition, device):
    """If the message has come again meanwhile, the retry finds a duplicate."""
    one = message(device, 1, ("s", NOW_NS, {"x": 3.0}))
    quarantine_whole(partition, one)
    partition.store(partition.records(one))
    receipt = retry(partition.connection, quarantined(partition)[0], DEFAULT_RULES)
    assert (receipt.messages, receipt.duplicates, receipt.quarantined) == (0, 1, -1)
    assert differences(partition) == {}


def test_replay_after_a_retry_is_a_duplicate(partition, device):
    """The topic's replay finds a retried record in the ledger, and in the quarantine if it is still bad for it."""
    partition.store(partition.records(message(device, 0, ("s", NOW_NS, {"x": 1.0}), ("s", OLD_NS, {"x": 2.0}))))
    [quarantine_id] = quarantined(partition)
    retry(partition.connection, quarantine_id, LONG)
    partition.offset = 0
    again = partition.store(partition.records(message(device, 0, ("s", NOW_NS, {"x": 1.0}), ("s", OLD_NS, {"x": 2.0}))))
    assert (again.messages, again.duplicates) == (0, 1)
    assert differences(partition) == {}


def test_reading_joins_its_message(partition, device):
    """A reading that is good now is added to windows, session and the whole message it came with."""
    readings = [("s", NOW_NS, {"x": 1.0}), ("s", OLD_NS, {"x": 2.0, "t": "old"}), ("s", 5, {"x": 3.0})]
    partition.store(partition.records(message(device, 7, *readings)))
    old, impossible = quarantined(partition)
    receipt = retry(partition.connection, old, LONG)
    assert (receipt.readings, receipt.readings_stored, receipt.readings_quarantined) == (0, 1, -1)
    with pytest.raises(StillBadError, match="before the year 2000"):
        retry(partition.connection, impossible, LONG)
    assert quarantined(partition) == [impossible]
    assert session(partition, device) == (1, 2, 1, 0)
    whole = "SELECT readings, numbers, texts, extract(epoch FROM first_time)::bigint FROM message WHERE topic = %s"
    assert partition.query(whole, partition.topic) == [(2, 2, 1, OLD_NS // 10**9)]
    assert differences(partition) == {}


def test_reading_of_a_message_that_is_gone(postgres, partition, device):
    """When the whole message is no longer kept, its reading is stored all the same."""
    partition.store(partition.records(message(device, 7, ("s", NOW_NS, {"x": 1.0}), ("s", OLD_NS, {"x": 2.0}))))
    with contextlib.closing(connect(postgres.settings("owner"), "test")) as owner, owner, owner.cursor() as cursor:
        cursor.execute("DELETE FROM message WHERE topic = %s", (partition.topic,))
        cursor.execute("DELETE FROM message_hour WHERE topic = %s", (partition.topic,))
    assert retry(partition.connection, quarantined(partition)[0], LONG).readings_stored == 1
    assert differences(partition) == {}


def run(postgres, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "services.stream.quarantine", *map(str, arguments)],
        check=False,
        capture_output=True,
        env=postgres.environment("stream_writer") | environment,
    )


def test_tool_lists_shows_and_retries(postgres, partition, device):
    """The command tells reasons and counts, one record whole, and stores what can be stored now."""
    partition.store(partition.records(message(device, 0, ("s", OLD_NS, {"x": 2.0})), b"\x00 no json"))
    broken, old = quarantined(partition)
    listed = json.loads(run(postgres, "list", "--json", "--reason", "bad_json").stdout)
    assert {entry["reason"]: entry["records"] for entry in listed["reasons"]}["bad_json"] >= 1
    assert listed["newest"][0]["id"] == broken
    assert b"time_before_kept" in run(postgres, "list").stdout
    assert run(postgres, "show", broken, "--raw").stdout == b"\x00 no json"
    shown = run(postgres, "show", old).stdout.decode()
    assert device in shown
    assert '"x":2.0' in shown
    assert run(postgres, "show", 10**12).returncode == 1
    tried = run(postgres, "retry", broken, old, STREAM_KEEP_60S_DAYS="20000")
    assert (tried.returncode, tried.stdout.decode().splitlines()[-1]) == (1, "1 stored, 1 stayed in quarantine")
    assert quarantined(partition) == [broken]
    assert differences(partition) == {}
