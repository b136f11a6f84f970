"""The Spark session and the stream of records from Kafka."""

import os
import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import expr

from services.stream.settings import StreamSettings

_REPOSITORY = Path(__file__).resolve().parents[2]
_JAVA_OPTIONS = (
    "-XX:+UseSerialGC -XX:ReservedCodeCacheSize=128m -Duser.timezone=UTC "
    f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"
)
_TRACEPARENT = "get(filter(headers, header -> header.key = 'traceparent'), 0).value AS traceparent"
_FETCHES = {
    # After each fetch Spark asks for the ends of the partition over the same connection, on which the consumer has
    # already asked for more: the broker answers one after the other, so a fetch that waits for records makes that wait.
    "kafka.fetch.max.wait.ms": "1",
    # A micro-batch of a backlog in few fetches.
    "kafka.max.partition.fetch.bytes": str(16 << 20),
    "kafka.max.poll.records": "2000",
}
_CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"


def make_session(settings: StreamSettings) -> SparkSession:
    """Start Spark with what was measured to be fast for small micro-batches."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(_REPOSITORY)  # workers import the tasks' modules
    jars = os.pathsep.join(str(jar) for jar in sorted(settings.jars_dir.glob("*.jar")))
    options = {
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": settings.driver_host,
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.driver.extraJavaOptions": f"{_JAVA_OPTIONS} {settings.java_options}".strip(),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.streaming.checkpointFileManagerClass": _CHECKPOINT_FILES,
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "500",
        "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
        "spark.python.worker.reuse": "true",
    }
    builder = SparkSession.builder.master(settings.master).appName("stream")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def read_records(spark: SparkSession, settings: StreamSettings) -> DataFrame:
    """The topic as a stream: topic, partition, offset, timestamp (broker time), key, value, traceparent (or null)."""
    certificate = str(settings.kafka_certificate_file)
    options = {
        "kafka.bootstrap.servers": settings.bootstrap_servers,
        "subscribe": settings.topic,
        "startingOffsets": "earliest",
        "includeHeaders": "true",
        "maxOffsetsPerTrigger": str(settings.max_records),
        **_FETCHES,
        "kafka.security.protocol": "SSL",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.ssl.keystore.location": certificate,
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": str(settings.kafka_ca_file),
    }
    stream = spark.readStream.format("kafka").options(**options).load()
    return stream.select("topic", "partition", "offset", "timestamp", "key", "value", expr(_TRACEPARENT))
