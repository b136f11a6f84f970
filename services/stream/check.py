"""`python -m services.stream.check`: does it add up? Everything that was read is stored, a duplicate or in quarantine.

Takes the stream's settings. Prints one line per sum and exits with 1 when one differs, 2 when it cannot tell.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final, NamedTuple

import psycopg2
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.common.kafka import client_options
from services.common.settings import SettingsError, load
from services.stream.settings import StreamSettings

KAFKA_TIMEOUT_S: Final = 10

_STORED_OFFSETS: Final = """
SELECT coalesce(sum(upper(part) - lower(part)), 0), coalesce(max(upper(part)), %(first)s)
FROM partition_progress, unnest(offsets * int8multirange(int8range(%(first)s, NULL))) AS part
WHERE topic = %(topic)s AND partition = %(partition)s
"""

_STORED_SUMS: Final = {
    "records read = stored + duplicates + quarantined + deleted": """
        SELECT coalesce(sum(records), 0), coalesce(sum(messages + duplicates + quarantined + deleted), 0)
        FROM partition_progress""",
    "readings read = stored + duplicates + quarantined + deleted": """
        SELECT coalesce(sum(readings), 0),
               coalesce(sum(readings_stored + readings_duplicate + readings_quarantined + readings_deleted), 0)
        FROM partition_progress""",
    "records of all batches = records read": """
        SELECT (SELECT coalesce(sum(records), 0) FROM batch),
               (SELECT coalesce(sum(records), 0) FROM partition_progress)""",
    "messages stored = messages that are there": """
        SELECT (SELECT coalesce(sum(messages), 0) FROM partition_progress), (SELECT count(*) FROM message)""",
    "messages stored = messages in the ledger": """
        SELECT (SELECT coalesce(sum(messages), 0) FROM partition_progress),
               (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM message_ledger, unnest(numbers) AS part)""",
    "messages stored = messages of all sessions": """
        SELECT (SELECT coalesce(sum(messages), 0) FROM partition_progress),
               (SELECT coalesce(sum(messages), 0) FROM session)""",
    "readings stored = readings in the stored messages": """
        SELECT (SELECT coalesce(sum(readings_stored), 0) FROM partition_progress),
               (SELECT coalesce(sum(readings), 0) FROM message)""",
    **{
        f"numbers in the stored messages = counted in windows of {resolution} s": f"""
        SELECT (SELECT coalesce(sum(numbers), 0) FROM message),
               (SELECT coalesce(sum(count), 0) FROM window_{resolution}s)"""
        for resolution in (1, 10, 60)
    },
    "texts in the stored messages = text readings": """
        SELECT (SELECT coalesce(sum(texts), 0) FROM message), (SELECT count(*) FROM text_reading)""",
    "records quarantined = whole records in quarantine": """
        SELECT (SELECT coalesce(sum(quarantined), 0) FROM partition_progress),
               (SELECT count(*) FROM quarantine WHERE position = -1)""",
    "readings quarantined = readings in quarantine": """
        SELECT (SELECT coalesce(sum(readings_quarantined), 0) FROM partition_progress),
               (SELECT count(*) FROM quarantine WHERE position >= 0)""",
}


class Sum(NamedTuple):
    """One line: what there should be, and what was found."""

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
    try:
        settings, database = load(StreamSettings, os.environ), load(DatabaseSettings, os.environ)
        with closing(connect(database, "check")) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            stored = list(stored_sums(connection))
            sums = [*offset_sums(connection, settings.topic, kafka_offsets(settings)), *stored]
    except (SettingsError, psycopg2.Error, KafkaException) as error:
        print(f"cannot check: {error}".strip(), file=sys.stderr)  # noqa: T201
        return 2
    print("\n".join(table(sums)))  # noqa: T201
    return int(any(line.expected != line.found for line in sums))


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


def offset_sums(connection: Connection, topic: str, offsets: Iterable[Offsets]) -> Iterator[Sum]:
    """For each partition: the offsets that Kafka holds are those of batches, and the lag."""
    with connection.cursor() as cursor:
        for partition, first, end in offsets:
            cursor.execute(_STORED_OFFSETS, {"topic": topic, "partition": partition, "first": first})
            stored, until = map(int, cursor.fetchone() or (0, first))
            lag = max(0, end - until)
            yield Sum(
                f"{topic}/{partition}: offsets in Kafka = in batches + lag of {lag}",
                max(end, until) - first,
                stored + lag,
            )


def stored_sums(connection: Connection) -> Iterator[Sum]:
    """What the tables say of the same things. All of it is read from one snapshot."""
    with connection.cursor() as cursor:
        for what, statement in _STORED_SUMS.items():
            cursor.execute(statement)
            row = cursor.fetchone()
            assert row is not None
            yield Sum(what, *map(int, row))


def table(sums: Iterable[Sum]) -> Iterator[str]:
    """The lines to print, differences marked."""
    yield f"{'':<70} {'expected':>14} {'found':>14}"
    for what, expected, found in sums:
        verdict = "" if expected == found else f"  DIFFERS by {found - expected:+d}"
        yield f"{what:<70} {expected:>14} {found:>14}{verdict}"


if __name__ == "__main__":
    sys.exit(main())
