"""`python -m services.stream.check`: does it add up? Everything that was read is stored, a duplicate or in quarantine.

Takes the stream's settings. Prints one line per sum and exits with 1 when one differs, 2 when it cannot tell. Stored
rows are counted where something has changed since they were counted last; with --full all of them.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final, NamedTuple

import psycopg2
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from services.common.database import DatabaseSettings, connect
from services.common.kafka import client_options
from services.common.settings import SettingsError, load
from services.stream import count
from services.stream.settings import StreamSettings

KAFKA_TIMEOUT_S: Final = 10
SHOWN: Final = 10

_STORED_OFFSETS: Final = """
SELECT coalesce(sum(upper(part) - lower(part)), 0), coalesce(max(upper(part)), %(first)s)
FROM partition_progress, unnest(offsets * int8multirange(int8range(%(first)s, NULL))) AS part
WHERE topic = %(topic)s AND partition = %(partition)s
"""

_OF_SESSIONS: Final = """
SELECT (SELECT coalesce(sum({read}), 0) FROM partition_progress),
       (SELECT coalesce(sum({kept}), 0) FROM {table}) + (SELECT sum({removed}) FROM removed)
"""
_SUMS: Final = {
    "records": (
        "records read = stored + duplicates + quarantined + deleted",
        """SELECT coalesce(sum(records), 0), coalesce(sum(messages + duplicates + quarantined + deleted), 0)
        FROM partition_progress""",
    ),
    "readings": (
        "readings read = stored + duplicates + quarantined + deleted",
        """SELECT coalesce(sum(readings), 0),
                  coalesce(sum(readings_stored + readings_duplicate + readings_quarantined + readings_deleted), 0)
        FROM partition_progress""",
    ),
    "session_messages": (
        "messages stored = of all sessions + removed",
        _OF_SESSIONS.format(read="messages", kept="messages", table="session", removed="messages"),
    ),
    "session_readings": (
        "readings stored = of all sessions + removed",
        _OF_SESSIONS.format(read="readings_stored", kept="readings", table="session", removed="readings"),
    ),
    "session_late": (
        "messages late = of all sessions + removed",
        _OF_SESSIONS.format(read="late", kept="late", table="session", removed="late"),
    ),
    "session_not_known": (
        "values not known = of all sessions + removed",
        _OF_SESSIONS.format(read="not_known", kept="not_known", table="session", removed="not_known"),
    ),
    "ledger": (
        "messages stored = in the ledger + forgotten",
        _OF_SESSIONS.format(read="messages", kept="messages", table="message_ledger", removed="ledger_messages"),
    ),
    "numeric_values": (
        "numbers of all sessions = of all hours",
        """SELECT (SELECT coalesce(sum(numeric_values), 0) FROM session),
                  (SELECT coalesce(sum(numeric_values), 0) FROM message_ledger)""",
    ),
    "text_values": (
        "texts of all sessions = of all hours",
        """SELECT (SELECT coalesce(sum(text_values), 0) FROM session),
                  (SELECT coalesce(sum(text_values), 0) FROM message_ledger)""",
    ),
    "quarantine_records": (
        "records quarantined = in quarantine + removed",
        """SELECT (SELECT coalesce(sum(quarantined), 0) FROM partition_progress),
                  (SELECT count(*) FROM quarantine WHERE position = -1 AND retried_at IS NULL)
                  + (SELECT sum(records_quarantined) FROM removed)""",
    ),
    "quarantine_readings": (
        "readings quarantined = in quarantine + removed",
        """SELECT (SELECT coalesce(sum(readings_quarantined), 0) FROM partition_progress),
                  (SELECT count(*) FROM quarantine WHERE position >= 0 AND retried_at IS NULL)
                  + (SELECT sum(readings_quarantined) FROM removed)""",
    ),
}

_KEPT_HOURS: Final = """
FROM message_ledger WHERE hour >= (SELECT extract(epoch FROM kept_from) / 3600 FROM retention WHERE kept = '{kept}')
"""
_KEPT_MESSAGES: Final = _KEPT_HOURS.replace("message_ledger", "message_hour").format(kept="message")
_COUNTED: Final = {
    "ledger_numbers": (
        "messages of all hours = numbers in the ledger",
        "SELECT coalesce(sum(messages), 0) FROM message_ledger",
    ),
    **{
        f"windows_{resolution}s": (
            f"numbers of all hours = counted in windows of {resolution} s",
            f"SELECT coalesce(sum(numeric_values), 0) {_KEPT_HOURS.format(kept=f'window_{resolution}s')}",
        )
        for resolution in count.RESOLUTIONS_S
    },
    "texts": (
        "texts of all hours = text readings",
        f"SELECT coalesce(sum(text_values), 0) {_KEPT_HOURS.format(kept='text_reading')}",
    ),
    "messages": (
        "messages of all hours = whole messages",
        f"SELECT coalesce(sum(messages), 0) {_KEPT_MESSAGES}",
    ),
    "message_readings": (
        "readings of all hours = in the whole messages",
        f"SELECT coalesce(sum(readings), 0) {_KEPT_MESSAGES}",
    ),
}
NAMES: Final = ("offsets", *_SUMS, *_COUNTED)
"""The sums by their short names, as a metric's label has them."""


class Sum(NamedTuple):
    """One line: what there should be, and what was found."""

    name: str
    what: str
    expected: int
    found: int


class Offsets(NamedTuple):
    """The offsets [first, end) that Kafka holds of a partition."""

    partition: int
    first: int
    end: int


def main() -> int:
    """Print the table; the exit status says whether every line adds up."""
    parser = argparse.ArgumentParser(prog="python -m services.stream.check", description=__doc__)
    parser.add_argument("--full", action="store_true", help="count every stored row, not only what has changed")
    which = count.ALL if parser.parse_args().full else count.CHANGED
    try:
        settings, database = load(StreamSettings, os.environ), load(DatabaseSettings, os.environ)
        with closing(connect(database, "check")) as connection:
            sums, counted = check(connection, settings, which)
    except (SettingsError, psycopg2.Error, KafkaException) as error:
        print(f"cannot check: {error}".strip(), file=sys.stderr)  # noqa: T201
        return 2
    print("\n".join(table(sums)))  # noqa: T201
    for place in counted.wrong[:SHOWN]:
        print(f"differs: {place}")  # noqa: T201
    return int(any(line.expected != line.found for line in sums))


def check(
    connection: Connection, settings: StreamSettings, which: str, limit: int | None = None
) -> tuple[list[Sum], count.Counted]:
    """All sums over one snapshot, and what was counted for it, which is noted. Leaves the connection in autocommit.

    Raises `psycopg2.Error`, and `KafkaException` when Kafka does not answer.
    """
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
    with connection, connection.cursor() as cursor:
        counted = count.count(cursor, which, limit)
        stored = list(stored_sums(cursor, counted))
        sums = [*offset_sums(cursor, settings.topic, kafka_offsets(settings)), *stored]
    connection.set_session(isolation_level="READ COMMITTED", readonly=False, autocommit=True)
    with connection.cursor() as cursor:
        count.note(cursor, counted)
    return sums, counted


def kafka_offsets(settings: StreamSettings) -> list[Offsets]:
    """What Kafka holds of the topic now. Raises `KafkaException` when it does not answer."""
    consumer = Consumer(
        client_options(settings) | {"group.id": "check", "log_level": 0}
    )  # consumes and commits nothing
    with closing(consumer):
        partitions = consumer.list_topics(settings.topic, KAFKA_TIMEOUT_S).topics[settings.topic].partitions
        return [
            Offsets(number, *consumer.get_watermark_offsets(TopicPartition(settings.topic, number), KAFKA_TIMEOUT_S))
            for number in sorted(partitions)
        ]


def offset_sums(cursor: Cursor, topic: str, offsets: Iterable[Offsets]) -> Iterator[Sum]:
    """For each partition: the offsets that Kafka holds are those of batches, and the lag."""
    for partition, first, end in offsets:
        cursor.execute(_STORED_OFFSETS, {"topic": topic, "partition": partition, "first": first})
        stored, until = map(int, cursor.fetchone() or (0, first))
        lag = max(0, end - until)
        what = f"{topic}/{partition}: offsets in Kafka = in batches + lag of {lag}"
        yield Sum("offsets", what, max(end, until) - first, stored + lag)


def stored_sums(cursor: Cursor, counted: count.Counted) -> Iterator[Sum]:
    """What the tables say of the same things. All of it is read from one snapshot."""
    for name, (what, statement) in _SUMS.items():
        cursor.execute(statement)
        expected, found = cursor.fetchone() or (0, 0)
        yield Sum(name, what, int(expected), int(found))
    for name, (what, statement) in _COUNTED.items():
        cursor.execute(statement)
        [expected] = cursor.fetchone() or (0,)
        difference = counted.sums[name].found - counted.sums[name].expected
        yield Sum(name, what, int(expected), int(expected) + difference)


def table(sums: Iterable[Sum]) -> Iterator[str]:
    """The lines to print, differences marked."""
    yield f"{'':<70} {'expected':>14} {'found':>14}"
    for _, what, expected, found in sums:
        verdict = "" if expected == found else f"  DIFFERS by {found - expected:+d}"
        yield f"{what:<70} {expected:>14} {found:>14}{verdict}"


if __name__ == "__main__":
    sys.exit(main())
