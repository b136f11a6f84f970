"""May the stream go on where its checkpoint says? `python -m services.stream.resume` tells; `--accept-loss` lets it.

Kafka deletes records by age, read or not. If it has deleted some that the checkpoint still waits for, the stream does
not start, says how many they are, and waits for an operator to accept that: no loss goes unnoticed.

A topic that was made anew (Kafka's data was lost, a backup is restored beside an empty Kafka) counts from 0 again. The
offsets that are stored of the one before then say nothing more, and are forgotten; messages are known by the ledger.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg2
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.common.kafka import KafkaSettings, client_options
from services.common.settings import SettingsError, load
from services.stream import checkpoint
from services.stream.check import KAFKA_TIMEOUT_S, Offsets, kafka_offsets
from services.stream.settings import StreamSettings

PATIENCE_S: Final = 60
LISTEN_S: Final = 3

log = logging.getLogger(__name__)

_ASIDE = "%s: put aside as %s; reading Kafka from its oldest record, what is stored already counts as duplicates"

_KNOWN: Final = """
SELECT partition, upper(offsets), topic_id FROM partition_progress WHERE topic = %(topic)s ORDER BY partition FOR UPDATE
"""
_NOTE: Final = """
INSERT INTO partition_progress AS known (
    topic, partition, topic_id, offsets, records, messages, duplicates, quarantined,
    readings, readings_stored, readings_duplicate, readings_quarantined)
SELECT %(topic)s, partition, %(topic_id)s, '{}', 0, 0, 0, 0, 0, 0, 0, 0
FROM unnest(%(partitions)s::integer[]) AS held (partition)
ON CONFLICT (topic, partition) DO UPDATE SET
    topic_id = EXCLUDED.topic_id,
    offsets = CASE WHEN known.partition = ANY (%(forgotten)s::integer[]) THEN EXCLUDED.offsets ELSE known.offsets END
"""

_STORED: Final = """
SELECT coalesce(sum(upper(part) - lower(part)), 0)
FROM partition_progress, unnest(offsets * int8multirange(int8range(%(wanted)s, %(until)s))) AS part
WHERE topic = %(topic)s AND partition = %(partition)s
"""


class Gap(NamedTuple):
    """Offsets [wanted, until) of a partition, which Kafka has deleted."""

    partition: int
    wanted: int
    until: int


class Held(NamedTuple):
    """What Kafka holds of the topic, and the id that the topic got when it was made."""

    topic_id: str
    offsets: list[Offsets]


class LossError(Exception):
    """Records were deleted before they were read. The text is one line that says how many and what to do."""


def prepare(settings: StreamSettings, connection: Connection) -> None:
    """Put a checkpoint aside that cannot be used. Raises `LossError`, and `ConnectionError` if no broker answers."""
    directory = settings.checkpoint
    if fault := checkpoint.find_fault(directory):
        log.error(_ASIDE, f"the checkpoint is broken: {fault}", checkpoint.set_aside(directory))
    held = _held(settings)
    other = find_other_topic(checkpoint.planned_offsets(directory, settings.topic), held.offsets)
    if forgotten := know_topic(connection, settings.topic, held):
        other = other or f"it is no longer the one of which partitions {forgotten} were stored"
        log.error("the topic was made anew, its offsets are counted from 0: %s", other)
    if other and directory.exists():
        log.error(_ASIDE, f"the checkpoint is of another topic: {other}", checkpoint.set_aside(directory))
    elif gaps := find_gaps(checkpoint.awaited_offsets(directory, settings.topic), held.offsets):
        if lost := count_lost(connection, settings.topic, gaps):
            told = tell_loss(lost, gaps)
            raise LossError(f"{told}; to go on with what is left: python -m services.stream.resume --accept-loss")
        log.warning(_ASIDE, "the checkpoint is behind what is stored and gone", checkpoint.set_aside(directory))


def know_topic(connection: Connection, topic: str, held: Held) -> list[int]:
    """Note whose the stored offsets are. Those of a topic that is no more are forgotten; returns their partitions."""
    ends = {each.partition: each.end for each in held.offsets}
    with connection, connection.cursor() as cursor:
        cursor.execute(_KNOWN, {"topic": topic})
        forgotten = [
            partition
            for partition, until, topic_id in cursor.fetchall()
            if (topic_id != held.topic_id if topic_id else (until or 0) > ends.get(partition, 0))
        ]
        values = {"topic": topic, "topic_id": held.topic_id, "partitions": list(ends), "forgotten": forgotten}
        cursor.execute(_NOTE, values)
    return forgotten


def _held(settings: StreamSettings) -> Held:
    """What Kafka holds. A broker that is away may come back; one that refuses is named with its reason."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Held(topic_id(settings), kafka_offsets(settings))
        except KafkaException as error:
            cause = f"Kafka at {settings.bootstrap_servers}: {_complaint(settings) or error.args[0].str()}"
            if time.monotonic() > deadline:
                raise ConnectionError(cause) from None
            log.warning("%s; asking again", cause)


def topic_id(settings: KafkaSettings) -> str:
    """The id that Kafka gave the topic when it was made. Raises `KafkaException`."""
    admin = AdminClient(client_options(settings) | {"log_level": 0})
    topics = admin.describe_topics(TopicCollection([settings.topic]), request_timeout=KAFKA_TIMEOUT_S)
    return str(topics[settings.topic].result().topic_id)


def _complaint(settings: StreamSettings) -> str:
    """What a client hears when it connects: why a certificate is refused is told nowhere else."""
    heard: list[str] = []
    options: dict[str, Any] = {"error_cb": lambda error: heard.append(error.str()), "log_level": 0}
    client = AdminClient(client_options(settings) | options)
    deadline = time.monotonic() + LISTEN_S
    while not heard and time.monotonic() < deadline:
        client.poll(0.1)
    return heard[0] if heard else ""


def find_other_topic(planned: Mapping[int, int], held: Iterable[Offsets]) -> str:
    """Says where the checkpoint is beyond Kafka's end: the topic was made anew. Empty if nowhere."""
    for partition, _, end in held:
        if planned.get(partition, 0) > end:
            return f"partition {partition} ends at {end}, but {planned[partition]} was read"
    return ""


def find_gaps(awaited: Mapping[int, int], held: Iterable[Offsets]) -> list[Gap]:
    """The offsets that the checkpoint waits for and Kafka no longer holds."""
    return [
        Gap(partition, awaited[partition], first)
        for partition, first, _ in held
        if awaited.get(partition, first) < first
    ]


def count_lost(connection: Connection, topic: str, gaps: Iterable[Gap]) -> int:
    """How many of these records are not stored: the checkpoint may be some behind what is."""
    lost = 0
    with connection, connection.cursor() as cursor:
        for gap in gaps:
            cursor.execute(_STORED, gap._asdict() | {"topic": topic})
            (stored,) = cursor.fetchone() or (0,)
            lost += gap.until - gap.wanted - int(stored)
    return lost


def tell_loss(lost: int, gaps: Iterable[Gap]) -> str:
    """One line about it."""
    places = ", ".join(f"partition {gap.partition}: offsets {gap.wanted} to {gap.until - 1}" for gap in gaps)
    return f"{lost} records are lost: Kafka's retention deleted them before they were read ({places})"


def main() -> int:
    """Tell, or accept; the status is 0 when the stream can start, 1 when it cannot, 2 when that cannot be told."""
    parser = argparse.ArgumentParser(prog="python -m services.stream.resume", description=__doc__)
    parser.add_argument("--accept-loss", action="store_true", help="put the checkpoint aside, go on with what is left")
    accept = parser.parse_args().accept_loss
    try:
        settings, database = load(StreamSettings, os.environ), load(DatabaseSettings, os.environ)
        with closing(connect(database, "resume")) as connection:
            return _main(settings, connection, accept=accept)
    except (SettingsError, KafkaException, psycopg2.Error, OSError) as error:
        print(f"cannot tell: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _main(settings: StreamSettings, connection: Connection, *, accept: bool) -> int:
    directory: Path = settings.checkpoint
    if fault := checkpoint.find_fault(directory):
        print(f"the stream can go on anew: its checkpoint is broken ({fault})")  # noqa: T201
        return 0
    gaps = find_gaps(checkpoint.awaited_offsets(directory, settings.topic), kafka_offsets(settings))
    if not (lost := count_lost(connection, settings.topic, gaps)):
        print("the stream can go on")  # noqa: T201
        return 0
    print(tell_loss(lost, gaps))  # noqa: T201
    if not accept:
        return 1
    print(f"accepted; the checkpoint is now {checkpoint.set_aside(directory)}. Start the stream.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
