"""What of the records that Kafka has deleted is lost, as the database knows it."""

import contextlib
import uuid

import pytest

from services.common.database import connect
from services.stream.resume import Gap, count_lost

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
