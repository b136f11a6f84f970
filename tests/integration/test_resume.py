"""What of the records that Kafka has deleted is lost, as the database knows it, and whose offsets it knows."""

import contextlib
import json
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from services.common.database import connect
from services.common.kafka import client_options
from services.stream.check import Offsets, kafka_offsets, offset_sums
from services.stream.resume import Gap, Held, count_lost, know_topic, prepare, topic_id
from services.stream.settings import StreamSettings

COUNTS = (
    "records, messages, duplicates, quarantined, readings, readings_stored, readings_duplicate, readings_quarantined"
)


@pytest.fixture
def topic(postgres):
    """A topic of which the offsets 0 to 9 and 12 to 13 of partition 0 are stored, and a connection."""
    name = f"t-{uuid.uuid4()}"
    with contextlib.closing(connect(postgres.settings("stream_writer"), "test")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO partition_progress (topic, partition, offsets, {COUNTS}) "
                "VALUES (%s, 0, '{[0,10),[12,14)}', 12, 12, 0, 0, 0, 0, 0, 0)",
                [name],
            )
        yield connection, name


@pytest.mark.parametrize(
    ("gaps", "lost"),
    [
        ([], 0),
        ([Gap(0, 5, 10)], 0),
        ([Gap(0, 5, 12)], 2),
        ([Gap(0, 8, 20), Gap(1, 0, 3)], 8 + 3),
    ],
)
def test_only_what_is_not_stored_is_lost(topic, gaps, lost):
    """A checkpoint that is behind what is stored makes no loss of it."""
    connection, name = topic
    assert count_lost(connection, name, gaps) == lost


def known(connection, name):
    with connection, connection.cursor() as cursor:
        statement = (
            "SELECT partition, offsets::text, topic_id, records FROM partition_progress WHERE topic = %s ORDER BY 1"
        )
        cursor.execute(statement, [name])
        return cursor.fetchall()


def test_offsets_are_those_of_one_topic(topic):
    """The topic's id is noted with its offsets, which stay while it is the same one, whatever it still holds."""
    connection, name = topic
    for first in (0, 14):
        assert know_topic(connection, name, Held("first", [Offsets(0, first, 14), Offsets(1, 0, 0)])) == []
        assert known(connection, name) == [(0, "{[0,10),[12,14)}", "first", 12), (1, "{}", "first", 0)]


@pytest.mark.parametrize("end", [0, 14, 100])
def test_offsets_of_a_topic_that_is_no_more_are_forgotten(topic, end):
    """However far its successor has come: what it holds has not been stored. What was stored still counts."""
    connection, name = topic
    know_topic(connection, name, Held("first", [Offsets(0, 0, 14)]))
    assert know_topic(connection, name, Held("second", [Offsets(0, 0, end)])) == [0]
    assert known(connection, name) == [(0, "{}", "second", 12)]


def test_offsets_beyond_the_end_are_of_another_topic(topic):
    """Also where no id was noted, by a version that knew of none."""
    connection, name = topic
    assert know_topic(connection, name, Held("second", [Offsets(0, 0, 13)])) == [0]
    assert known(connection, name) == [(0, "{}", "second", 12)]


def settings_of(kafka, principal, topic, directory):
    return StreamSettings(
        bootstrap_servers=kafka.bootstrap_servers, kafka_ca_file=kafka.ca_file, topic=topic,
        kafka_certificate_file=kafka.certificate_file(principal), checkpoint_dir=directory, jars_dir=directory,
    )  # fmt: skip


def test_stream_may_ask_for_the_id(kafka, tmp_path):
    """With the certificate that it has."""
    stream, admin = (settings_of(kafka, principal, kafka.topic, tmp_path) for principal in ("stream", "admin"))
    assert topic_id(stream) == topic_id(admin)


def make_topic(settings, records):
    """A topic with so many records, in place of the one that has its name."""
    admin = AdminClient(client_options(settings))
    if settings.topic in admin.list_topics(timeout=20).topics:
        admin.delete_topics([settings.topic])[settings.topic].result(20)
    admin.create_topics([NewTopic(settings.topic, 1)])[settings.topic].result(20)
    producer = Producer(client_options(settings))
    for _ in range(records):
        producer.produce(settings.topic, b"{}")
    assert producer.flush(20) == 0


def write_checkpoint(directory, topic, until):
    for log, last in (("offsets", json.dumps({topic: {"0": until}})), ("commits", "{}")):
        (directory / log).mkdir(parents=True)
        (directory / log / "0").write_text(f"v1\n{{}}\n{last}")
    (directory / "metadata").write_text('{"id": "1"}')


def lag(connection, settings):
    with connection, connection.cursor() as cursor:
        [line] = offset_sums(cursor, settings.topic, kafka_offsets(settings))
    assert line.expected == line.found
    return int(line.what.rpartition(" ")[2])


def test_new_topic_under_the_same_name(topic, kafka, tmp_path):
    """However many records it has: none counts as read, and the checkpoint of the one before is put aside."""
    connection, name = topic
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE partition_progress SET offsets = '{[0,14)}' WHERE topic = %s", [name])
    settings = settings_of(kafka, "admin", name, tmp_path)
    make_topic(settings, 14)
    write_checkpoint(settings.checkpoint, name, 14)
    prepare(settings, connection)
    assert settings.checkpoint.exists()
    make_topic(settings, 20)
    assert lag(connection, settings) == 6  # 14 of the other topic pass for its own
    prepare(settings, connection)
    assert not settings.checkpoint.exists()
    assert lag(connection, settings) == 20
    prepare(settings, connection)
    assert known(connection, name)[0][1:] == ("{}", topic_id(settings), 12)
