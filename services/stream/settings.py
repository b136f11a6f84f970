"""Settings of the stream."""

from dataclasses import dataclass
from pathlib import Path

from services.common.kafka import KafkaSettings
from services.common.settings import setting


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
    log_format: str = setting("LOG_FORMAT", "json or text", "json")

    @property
    def checkpoint(self) -> Path:
        """Spark's own directory. One below the given one, so that it can be renamed where that is a mounted volume."""
        return self.checkpoint_dir / "query"
