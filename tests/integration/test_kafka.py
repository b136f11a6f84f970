"""Who may do what with Kafka: shown by clients of every kind against the real broker."""

import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from ops.local.certificates import make_certificates


def client(kafka, principal, **more):
    """librdkafka's configuration of `principal`; without one, a client that shows no certificate."""
    configuration = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": "SSL",
        "ssl.ca.location": str(kafka.ca_file),
        "log_level": 0,
    }
    if principal:
        certificate = str(kafka.certificate_file(principal))
        configuration |= {"ssl.certificate.location": certificate, "ssl.key.location": certificate}
    return configuration | more


def produce(kafka, principal, topic, value=b"{}", **more):
    """Produce one record; returns the error of its delivery report, or its message."""
    reports = []
    settings = {"message.timeout.ms": 5000, "acks": "all"} | more
    producer = Producer(client(kafka, principal, **settings))
    producer.produce(topic, value, key=b"k", on_delivery=lambda error, message: reports.append((error, message)))
    producer.flush(10)
    return reports[0]


def consume(kafka, principal, topic, sent=None):
    """The record that `sent` reports, or the first of partition 0. Raises `KafkaException`."""
    consumer = Consumer(client(kafka, principal, **{"group.id": "none", "enable.auto.commit": False}))
    try:
        consumer.assign(
            [TopicPartition(topic, sent.partition(), sent.offset()) if sent else TopicPartition(topic, 0, 0)]
        )
        while (message := consumer.poll(10)) is not None:
            if not message.error():
                return message
            if message.error().code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # a group is not needed to read
                raise KafkaException(message.error())
        raise AssertionError("neither a record nor an error")
    finally:
        consumer.close()


def test_ingest_writes_and_stream_reads(kafka):
    """A record that ingest wrote is what the stream reads, with the broker's time."""
    error, sent = produce(kafka, "ingest", kafka.test_topic)
    assert error is None
    error, sent = produce(kafka, "ingest", kafka.topic, b"1" * 100, partitioner="consistent")
    assert error is None
    read = consume(kafka, "stream", kafka.topic, sent)
    assert read.value() == b"1" * 100
    kind, at_ms = read.timestamp()
    assert kind == 2  # log append time
    assert abs(at_ms / 1000 - time.time()) < 60


def test_producer_may_be_idempotent(kafka):
    """The right to write is enough for a producer that never writes a record twice."""
    error, _ = produce(kafka, "ingest", kafka.topic, **{"enable.idempotence": True})
    assert error is None


def test_largest_message_fits(kafka):
    """A record of 3 MiB, more than the largest body, is accepted."""
    error, _ = produce(kafka, "ingest", kafka.topic, b"x" * (3 << 20), **{"message.max.bytes": 4 << 20})
    assert error is None


@pytest.mark.parametrize(("principal", "topic"), [("stream", "topic"), ("stream", "test_topic")])
def test_stream_may_not_write(kafka, principal, topic):
    """The stream's certificate gives no right to write."""
    error, _ = produce(kafka, principal, getattr(kafka, topic))
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("topic", ["topic", "test_topic"])
def test_ingest_may_not_read(kafka, topic):
    """Ingest's certificate gives no right to read, not even what ingest wrote."""
    with pytest.raises(KafkaException) as refusal:
        consume(kafka, "ingest", getattr(kafka, topic))
    assert refusal.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_stream_sees_only_the_messages(kafka):
    """The stream is not shown the topic of the test pushes, nor anything else."""
    admin = AdminClient(client(kafka, "stream"))
    assert admin.list_topics(timeout=10).topics.keys() == {kafka.topic}
    found = admin.list_topics(kafka.test_topic, timeout=10).topics[kafka.test_topic]
    assert found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_topic_without_rules_is_closed(kafka):
    """What nobody was given a right to, nobody but the administrator sees."""
    admin = AdminClient(client(kafka, "admin"))
    admin.create_topics([NewTopic("no-rules", 1)])["no-rules"].result(20)
    for principal in ("ingest", "stream"):
        found = AdminClient(client(kafka, principal)).list_topics("no-rules", timeout=10).topics["no-rules"]
        assert found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert admin.list_topics("no-rules", timeout=10).topics["no-rules"].error is None


def test_client_without_certificate_is_refused(kafka):
    """Nobody is served who does not show a certificate."""
    errors = []
    producer = Producer(client(kafka, None, error_cb=errors.append))
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=3)
    producer.poll(0)
    assert any("certificate" in error.str() for error in errors)


def test_certificate_of_a_stranger_is_refused(kafka, tmp_path):
    """A certificate that another authority signed opens nothing, whatever name it bears."""
    make_certificates(tmp_path)
    stranger = str(tmp_path / "admin.pem")
    more = {"ssl.certificate.location": stranger, "ssl.key.location": stranger}
    with pytest.raises(KafkaException):
        AdminClient(client(kafka, "admin") | more).list_topics(timeout=3)


def test_broker_of_a_stranger_is_not_trusted(kafka, tmp_path):
    """A client that knows another authority does not talk to this broker."""
    make_certificates(tmp_path)
    errors = []
    more = {"ssl.ca.location": str(tmp_path / "ca.crt"), "error_cb": errors.append}
    producer = Producer(client(kafka, "ingest") | more)
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=3)
    producer.poll(0)
    assert any("certificate verify failed" in error.str() for error in errors)


def test_no_topic_is_made_by_accident(kafka):
    """Writing to a topic that does not exist fails, even for who may do anything, and does not make it."""
    error, _ = produce(kafka, "admin", "a-slip-of-the-pen", **{"topic.metadata.propagation.max.ms": 500})
    assert error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
    assert "a-slip-of-the-pen" not in AdminClient(client(kafka, "admin")).list_topics(timeout=10).topics


def test_topics_may_be_made_again(kafka):
    """Making the topics a second time changes nothing."""
    before = AdminClient(client(kafka, "admin")).list_topics(timeout=10).topics
    kafka.make_topics()
    after = AdminClient(client(kafka, "admin")).list_topics(timeout=10).topics
    partitions = {name: sorted(topic.partitions) for name, topic in before.items()}
    assert {name: sorted(topic.partitions) for name, topic in after.items()} == partitions
    assert len(partitions[kafka.topic]) == kafka.partitions
    assert len(partitions[kafka.test_topic]) == 1


def test_topic_keeps_messages_as_long_as_set(kafka):
    """Retention by time and by size stands as the settings say."""
    resource = ConfigResource(ResourceType.TOPIC, kafka.topic)
    admin = AdminClient(client(kafka, "admin"))
    found = {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(10).items()}
    assert found["message.timestamp.type"] == "LogAppendTime"
    assert int(found["retention.ms"]) == kafka.retention_days * 86_400_000
    assert int(found["retention.bytes"]) == kafka.retention_mib << 20


def test_records_outlive_a_killed_broker(new_kafka):
    """What was acknowledged is there after `kill -9` of the broker, and it starts again by itself."""
    server = new_kafka("killed")
    server.start()
    try:
        error, sent = produce(server, "ingest", server.topic, b"kept")
        assert error is None
        server.kill()
        server.start()
        assert consume(server, "stream", server.topic, sent).value() == b"kept"
    finally:
        server.stop()
