"""Settings of the stream."""

from dataclasses import dataclass
from pathlib import Path

from services.common.kafka import KafkaSettings
from services.common.settings import SettingsError, secret, setting


@dataclass(frozen=True, kw_only=True)
class StreamSettings(KafkaSettings):
    """What the driver needs; how tasks reach PostgreSQL stands in `DatabaseSettings`."""

    checkpoint_dir: Path = setting("CHECKPOINT_DIR", "directory of Spark's checkpoint, on a disk that stays")
    jars_dir: Path = setting("SPARK_JARS_DIR", "directory with the jars of Spark's Kafka connector")
    master: str = setting("SPARK_MASTER", "Spark master; local[2,4] tries a failed task 4 times", "local[2,4]")
    driver_host: str = setting("SPARK_DRIVER_HOST", "address by which executors reach the driver", "127.0.0.1")
    driver_memory: str = setting("SPARK_DRIVER_MEMORY", "heap of the driver's JVM", "768m")
    java_options: str = setting("SPARK_DRIVER_JAVA_OPTIONS", "more options of the driver's JVM: an agent", "")
    trigger_ms: int = setting("STREAM_TRIGGER_MS", "time between the starts of two micro-batches", 200)
    max_records: int = setting("STREAM_MAX_RECORDS_PER_BATCH", "most records of a micro-batch, all partitions", 4000)
    metrics_port: int = setting("STREAM_METRICS_PORT", "port of the Prometheus metrics", 9102)
    metrics_password: str = secret("METRICS_PASSWORD", "file with their password; none: on loopback alone", "")
    log_format: str = setting("LOG_FORMAT", "json or text", "json")

    @property
    def checkpoint(self) -> Path:
        """Spark's own directory. One below the given one, so that it can be renamed where that is a mounted volume."""
        return self.checkpoint_dir / "query"


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """What tasks need to know to sort out readings; each worker process reads it from its environment."""

    keep_60s_days: int = setting("STREAM_KEEP_60S_DAYS", "days that windows of 60 s are kept", 1826)
    late_after_s: float = setting(
        "STREAM_LATE_AFTER_S", "seconds after its last reading that make a message late", 60.0
    )


@dataclass(frozen=True, kw_only=True)
class KeepSettings:
    """How many days things are kept, and how often the stream looks after that."""

    messages: int = setting("STREAM_KEEP_MESSAGES_DAYS", "days after arrival that whole messages are kept", 7)
    windows_1s: int = setting("STREAM_KEEP_1S_DAYS", "days that windows of 1 s are kept", 14)
    windows_10s: int = setting("STREAM_KEEP_10S_DAYS", "days that windows of 10 s are kept", 180)
    windows_60s: int = setting("STREAM_KEEP_60S_DAYS", "days that windows of 60 s are kept", 1826)
    texts: int = setting("STREAM_KEEP_TEXTS_DAYS", "days that text readings are kept", 180)
    batches: int = setting("STREAM_KEEP_BATCHES_DAYS", "days that the rows of batches are kept", 3)
    quarantine: int = setting("STREAM_KEEP_QUARANTINE_DAYS", "days that records stay in quarantine", 90)
    ledger: int = setting("STREAM_KEEP_LEDGER_DAYS", "days after its last message that a session is remembered", 30)
    kafka: int = setting("KAFKA_RETENTION_DAYS", "days that Kafka keeps messages", 7)
    every_s: float = setting("STREAM_HOUSEKEEPING_S", "seconds between two looks at partitions, ages and sums", 60.0)

    def __post_init__(self) -> None:
        """Refuse what would store again what Kafka replays. Raises `SettingsError`."""
        if min(self.days.values()) < 1:
            raise SettingsError("STREAM_KEEP_…_DAYS must be 1 or more")
        if min(self.ledger, self.quarantine) <= self.kafka:
            raise SettingsError(
                f"STREAM_KEEP_LEDGER_DAYS={self.ledger} and STREAM_KEEP_QUARANTINE_DAYS={self.quarantine} must be more "
                f"than KAFKA_RETENTION_DAYS={self.kafka}: what Kafka can replay must be known"
            )

    @property
    def days(self) -> dict[str, int]:
        """Days by the names of the table `retention`."""
        return {
            "message": self.messages,
            "window_1s": self.windows_1s,
            "window_10s": self.windows_10s,
            "window_60s": self.windows_60s,
            "text_reading": self.texts,
            "batch": self.batches,
            "quarantine": self.quarantine,
            "ledger": self.ledger,
        }
