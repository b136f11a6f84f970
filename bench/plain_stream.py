"""The yardstick: the stream's job without Spark. `python -m bench.plain_stream` with the stream's own environment.

One process, one loop: consume from both partitions, decode, and store each partition in one transaction by the very
functions that the Spark tasks use. It begins at the end of the topic and keeps no checkpoint.
"""

import os
import uuid
from contextlib import closing
from itertools import groupby
from operator import attrgetter

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from services.common.database import DatabaseSettings, connect
from services.common.kafka import client_options
from services.common.settings import load
from services.stream.decode import Record, decode
from services.stream.receipts import BatchKey
from services.stream.settings import StreamSettings
from services.stream.store import prepare, store

POLL_S = 0.1


def main() -> None:
    """Store until ended."""
    settings, database = load(StreamSettings, os.environ), load(DatabaseSettings, os.environ)
    query_id, batch_id = str(uuid.uuid4()), 0
    with closing(connect(database, "plain-stream")) as connection, closing(_consumer(settings)) as consumer:
        prepare(connection)
        print("ready", flush=True)
        while True:
            messages = consumer.consume(settings.max_records, POLL_S)
            records = sorted(_record(message) for message in messages if not message.error())
            for partition, group in groupby(records, attrgetter("partition")):
                of_partition = list(group)
                first, last = of_partition[0].offset, of_partition[-1].offset + 1
                entries, bad_records = decode(of_partition)
                key = BatchKey(query_id, batch_id, settings.topic, partition, first, last)
                store(connection, key, entries, bad_records)
                connection.commit()
            batch_id += 1


def _consumer(settings: StreamSettings) -> Consumer:
    options = {"group.id": "bench", "enable.auto.commit": False, "queued.max.messages.kbytes": 65536, "log_level": 0}
    consumer = Consumer(client_options(settings) | options)
    partitions = consumer.list_topics(settings.topic, 10).topics[settings.topic].partitions
    begin = []
    for number in partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition(settings.topic, number), 10)
        begin.append(TopicPartition(settings.topic, number, end if end else OFFSET_END))
    consumer.assign(begin)
    return consumer


def _record(message) -> Record:
    _, broker_ms = message.timestamp()
    return Record(
        message.topic(), message.partition(), message.offset(), broker_ms * 1000, message.key(), message.value()
    )


if __name__ == "__main__":
    main()
