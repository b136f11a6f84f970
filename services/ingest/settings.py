"""Settings of ingest."""

from dataclasses import dataclass

from services.common.kafka import KafkaSettings
from services.common.settings import SettingsError, secret, setting


@dataclass(frozen=True, kw_only=True)
class IngestSettings(KafkaSettings):
    """What a worker needs; how many workers there are and where they listen is for gunicorn."""

    host: str = setting("INGEST_HOST", "address to listen on", "0.0.0.0")  # noqa: S104  # in a container: all
    port: int = setting("INGEST_PORT", "port of the HTTP ingest", 5000)
    metrics_port: int = setting("INGEST_METRICS_PORT", "port of the Prometheus metrics", 9101)
    metrics_password: str = secret("METRICS_PASSWORD", "file with their password; none: on loopback alone", "")
    workers: int = setting("INGEST_WORKERS", "worker processes, each with its own producer", 1)
    trust_forwarded_for: bool = setting(
        "INGEST_TRUST_FORWARDED_FOR", "whether X-Forwarded-For says who a client is", False
    )
    max_connections: int = setting("INGEST_MAX_CONNECTIONS", "connections that one worker keeps open", 8192)
    max_in_flight: int = setting("INGEST_MAX_IN_FLIGHT", "messages that one worker handles at a time", 256)
    max_body_bytes: int = setting("INGEST_MAX_BODY_BYTES", "largest body, as sent and inflated", 2 << 20)
    max_held_bytes: int = setting("INGEST_MAX_HELD_BYTES", "of bodies that one worker is receiving", 64 << 20)
    max_readings: int = setting("INGEST_MAX_READINGS", "most readings of a message", 50_000)
    token_in_url: bool = setting("INGEST_TOKEN_IN_URL", "whether ?token=T counts; URLs are seen by many", False)
    token_refresh_s: float = setting("INGEST_TOKEN_REFRESH_S", "time between two readings of the tokens", 3.0)
    rate: float = setting("INGEST_RATE", "messages per second of one device, at length, in each worker", 50.0)
    burst: float = setting("INGEST_BURST", "messages of one device that may come at once", 500.0)
    acknowledge_timeout_s: float = setting("INGEST_ACKNOWLEDGE_TIMEOUT_S", "how long to wait for Kafka", 5.0)
    test_topic: str = setting("KAFKA_TEST_TOPIC", "topic of the test pushes", "test-pushes")
    linger_ms: float = setting("INGEST_LINGER_MS", "how long a record waits for others to share its request", 0.0)
    max_queued_records: int = setting("INGEST_MAX_QUEUED_RECORDS", "records that wait for Kafka in a worker", 1000)
    max_queued_bytes: int = setting("INGEST_MAX_QUEUED_BYTES", "of records that wait for Kafka in a worker", 64 << 20)
    head_timeout_s: float = setting("INGEST_HEAD_TIMEOUT_S", "how long a client may take to send a head", 10.0)
    body_timeout_s: float = setting("INGEST_BODY_TIMEOUT_S", "how long a client may take to send a body", 30.0)
    idle_timeout_s: float = setting("INGEST_IDLE_TIMEOUT_S", "how long a connection may stay open unused", 75.0)
    write_timeout_s: float = setting("INGEST_WRITE_TIMEOUT_S", "how long a client may take to read an answer", 10.0)
    log_format: str = setting("LOG_FORMAT", "json or text", "json")

    def __post_init__(self) -> None:
        """Raises `SettingsError` for a limit that would let nothing through."""
        if not (self.rate > 0 and self.burst >= 1):
            raise SettingsError("INGEST_RATE has to be above 0 and INGEST_BURST at least 1")
