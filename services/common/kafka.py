"""How to reach Kafka: TLS, and a certificate that says who connects."""

from dataclasses import dataclass
from pathlib import Path

from services.common.settings import setting


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Where the brokers are and as whom to connect: the principal is the certificate's common name."""

    bootstrap_servers: str = setting("KAFKA_BOOTSTRAP_SERVERS", "host:port of the brokers, with commas between")
    kafka_ca_file: Path = setting("KAFKA_CA_FILE", "certificate of the CA that signed the brokers'")
    kafka_certificate_file: Path = setting("KAFKA_CERTIFICATE_FILE", "PEM with this client's key and certificates")
    topic: str = setting("KAFKA_TOPIC", "topic of the messages", "sensor-messages")


def client_options(settings: KafkaSettings) -> dict[str, str]:
    """What every client of librdkafka is told."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "security.protocol": "ssl",
        "ssl.ca.location": str(settings.kafka_ca_file),
        "ssl.certificate.location": str(settings.kafka_certificate_file),
        "ssl.key.location": str(settings.kafka_certificate_file),
    }
