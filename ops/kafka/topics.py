"""`python -m ops.kafka.topics`: makes the topics and says who may do what with them. May run again at any time."""

import os
import sys
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from services.common.kafka import KafkaSettings, client_options
from services.common.settings import SettingsError, load, setting

_TIMEOUT_S: Final = 20  # of each request; what it leads to is raised by its future
_DAY_MS: Final = 86_400_000
_MIB: Final = 1 << 20
_LARGEST_RECORD: Final = 4 * _MIB  # a body of 2 MiB, encoded again, with room for key and headers


@dataclass(frozen=True, kw_only=True)
class TopicSettings(KafkaSettings):
    """How to reach Kafka as `admin`, and what the topics are to be like."""

    test_topic: str = setting("KAFKA_TEST_TOPIC", "topic of the test pushes", "test-pushes")
    partitions: int = setting("KAFKA_PARTITIONS", "partitions of the topic of the messages", 2)
    replicas: int = setting("KAFKA_REPLICAS", "copies of each partition", 1)
    retention_days: int = setting("KAFKA_RETENTION_DAYS", "days that messages are kept", 7)
    retention_mib: int = setting("KAFKA_RETENTION_MIB", "MiB per partition that are kept at most", 4096)


def main() -> int:
    """Make what is missing; the exit status is 1 when Kafka refuses or is away, 2 for a wrong setting."""
    try:
        settings = load(TopicSettings, os.environ)
        _check_files(settings)
        make_topics(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except KafkaException as error:
        print(f"Kafka at {settings.bootstrap_servers}: {error.args[0].str()}", file=sys.stderr)
        return 1
    return 0


def _check_files(settings: TopicSettings) -> None:
    """What is said of a missing file without this does not name it."""
    for file in (settings.kafka_ca_file, settings.kafka_certificate_file):
        if not file.is_file():
            raise SettingsError(f"{file} is not there: make the certificates with ops/kafka-ssl/make-certificates")


def make_topics(settings: TopicSettings) -> None:
    """Topics, their configuration and the access rules. Raises `KafkaException`."""
    admin = AdminClient(client_options(settings) | {"log_level": 0})  # what goes wrong is raised
    wanted = {settings.topic: (settings.partitions, _message_topic(settings)), settings.test_topic: (1, _test_topic())}
    _make_missing(admin, wanted, settings.replicas)
    _configure(admin, {name: configuration for name, (_, configuration) in wanted.items()})
    _allow(admin, settings)


def _message_topic(settings: TopicSettings) -> dict[str, str]:
    return {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(settings.retention_days * _DAY_MS),
        "retention.bytes": str(settings.retention_mib * _MIB),
        "max.message.bytes": str(_LARGEST_RECORD),
    }


def _test_topic() -> dict[str, str]:
    """Test pushes are only acknowledged, so they are forgotten within the hour."""
    return {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(3_600_000),
        "retention.bytes": str(16 * _MIB),
        "segment.bytes": str(8 * _MIB),
        "max.message.bytes": str(_LARGEST_RECORD),
    }


def _make_missing(admin: AdminClient, wanted: dict[str, tuple[int, dict[str, str]]], replicas: int) -> None:
    topics = [
        NewTopic(name, num_partitions=count, replication_factor=replicas, config=configuration)
        for name, (count, configuration) in wanted.items()
    ]
    for future in admin.create_topics(topics, operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _configure(admin: AdminClient, wanted: dict[str, dict[str, str]]) -> None:
    """Settings that changed since the topic was made."""
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in configuration.items()
            ],
        )
        for topic, configuration in wanted.items()
    ]
    for future in admin.incremental_alter_configs(resources, request_timeout=_TIMEOUT_S).values():
        future.result()


def _allow(admin: AdminClient, settings: TopicSettings) -> None:
    rules = [
        ("ingest", settings.topic, AclOperation.WRITE),
        ("ingest", settings.test_topic, AclOperation.WRITE),
        ("stream", settings.topic, AclOperation.READ),
    ]
    bindings = [
        AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{principal}", "*", operation,
            AclPermissionType.ALLOW,
        )
        for principal, topic, operation in rules
    ]  # fmt: skip
    for future in admin.create_acls(bindings, request_timeout=_TIMEOUT_S).values():
        future.result()


if __name__ == "__main__":
    sys.exit(main())
