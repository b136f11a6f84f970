"""The parts of the stack: what each needs, runs and answers to. Reads top to bottom like the way of the data."""

import signal
import sys
from functools import partial
from pathlib import Path

from ops.local.certificates import make_certificates
from ops.local.edge import Edge
from ops.local.kafka import Kafka
from ops.local.libraries import LIBRARIES, collect
from ops.local.monitoring import jvm_agent, monitoring_parts
from ops.local.part import Part
from ops.local.postgres import Postgres, make_password
from ops.local.processes import REPOSITORY, Command
from ops.local.reach import answers
from ops.local.settings import HOST, LocalSettings
from ops.local.tokens import SIMULATOR, make_tokens, token_file

COMMON_PREFIXES = ("LOG_", "OTEL_")


def all_parts(settings: LocalSettings) -> list[Part]:
    """The stack, each part after what it needs. A variable like INGEST_WORKERS reaches its service as it is."""
    parts = [
        libraries_part("kafka"),
        libraries_part("spark"),
        libraries_part("kafka/exporter"),
        Part(name="certificates", prepare=partial(make_certificates, settings.certificates)),
        kafka_part(kafka(settings)),
        postgres_part(postgres(settings)),
        Part(name="tokens", after=("postgres",), prepare=partial(make_tokens, postgres(settings))),
        ingest_part(settings),
        stream_part(settings),
        dashboard_part(settings),
    ]
    if int(settings["EDGE"]) > 0:
        parts.append(edge_part(edge(settings)))
    parts += monitoring_parts(settings, postgres(settings))
    if int(settings["PHONES"]) > 0:
        parts.append(simulator_part(settings))
    return parts


def kafka(settings: LocalSettings) -> Kafka:
    """The broker of these settings."""
    return Kafka(
        directory=settings.data / "kafka",
        certificates=settings.certificates,
        libraries=LIBRARIES / "kafka",
        port=settings.port("KAFKA_PORT"),
        controller_port=settings.port("KAFKA_CONTROLLER_PORT"),
        topic=settings["KAFKA_TOPIC"],
        test_topic=settings["KAFKA_TEST_TOPIC"],
        partitions=int(settings["KAFKA_PARTITIONS"]),
        retention_days=int(settings["KAFKA_RETENTION_DAYS"]),
        retention_mib=int(settings["KAFKA_RETENTION_MIB"]),
        heap_mib=int(settings["KAFKA_HEAP_MIB"]),
        agent=jvm_agent("kafka", settings.port("KAFKA_METRICS_PORT")),
    )


def postgres(settings: LocalSettings) -> Postgres:
    """The cluster of these settings."""
    return Postgres(
        directory=settings.data / "postgres",
        certificates=settings.certificates,
        secrets=settings.secrets,
        port=settings.port("POSTGRES_PORT"),
        database=settings["DATABASE_NAME"],
    )


def libraries_part(name: str) -> Part:
    """The jars of the broker, of Spark's Kafka connector, or of the exporter of a JVM's metrics."""
    last = Path(name).name
    return Part(name=f"{last}-jars", prepare=partial(collect, REPOSITORY / "ops" / name, LIBRARIES / last))


def kafka_part(broker: Kafka) -> Part:
    """The broker; ready once its topics and access rules are there."""
    return Part(
        name="kafka",
        after=("kafka-jars", "exporter-jars", "certificates"),
        prepare=broker.prepare,
        command=broker.command,
        is_ready=broker.is_ready,
        finish=broker.make_topics,
        ended=broker.keep_class_archive,
    )


def postgres_part(cluster: Postgres) -> Part:
    """PostgreSQL; ready once its roles are there and its schema is up to date."""

    def finish() -> None:
        cluster.make_roles()
        cluster.migrate()

    return Part(
        name="postgres",
        after=("certificates",),
        prepare=cluster.prepare,
        command=cluster.command,
        is_ready=cluster.is_ready,
        finish=finish,
    )


def ingest_part(settings: LocalSettings) -> Part:
    """The HTTP ingest under gunicorn."""
    clients = kafka(settings).environment("ingest") | postgres(settings).environment("ingest_reader")
    environment = settings.given("INGEST_", *COMMON_PREFIXES) | clients
    return Part(
        name="ingest",
        after=("kafka", "tokens"),
        command=lambda: gunicorn("ingest", environment),
        is_ready=partial(answers, settings.port("INGEST_PORT"), "/readyz"),
    )


def stream_part(settings: LocalSettings) -> Part:
    """The Spark stream; its metrics answer once its query runs."""
    agent = {"SPARK_DRIVER_JAVA_OPTIONS": jvm_agent("spark", settings.port("SPARK_METRICS_PORT"))}
    return Part(
        name="stream",
        after=("kafka", "postgres", "spark-jars", "exporter-jars"),
        command=lambda: python(["services.stream"], stream_environment(settings) | agent),
        is_ready=partial(answers, settings.port("STREAM_METRICS_PORT"), "/livez"),
    )


def stream_environment(settings: LocalSettings) -> dict[str, str]:
    """What the stream and its check are told."""
    own = {"CHECKPOINT_DIR": str(settings.data / "checkpoint"), "SPARK_JARS_DIR": str(LIBRARIES / "spark")}
    clients = kafka(settings).environment("stream") | postgres(settings).environment("stream_writer")
    return settings.given("STREAM_", "SPARK_", "KAFKA_RETENTION_DAYS", *COMMON_PREFIXES) | clients | own


def dashboard_part(settings: LocalSettings) -> Part:
    """The web page under gunicorn."""
    given = {"INGEST_URL": push_url(settings)} | settings.given(
        "DASHBOARD_", "MAP_", "INGEST_URL", "TRACE_", *COMMON_PREFIXES
    )
    first_password = first_password_file(settings)
    own = {"DASHBOARD_FIRST_PASSWORD_FILE": str(first_password)}
    if not settings["DASHBOARD_EXPORT_DIRECTORY"]:
        own["DASHBOARD_EXPORT_DIRECTORY"] = str(settings.data / "exports")
    environment = given | postgres(settings).environment("dashboard") | own
    return Part(
        name="dashboard",
        after=("postgres",),
        prepare=partial(make_password, first_password),
        command=lambda: gunicorn("dashboard", environment),
        is_ready=partial(answers, settings.port("DASHBOARD_PORT"), "/readyz"),
    )


def edge(settings: LocalSettings) -> Edge:
    """The edge of these settings, in front of the services that run here."""
    return Edge(
        directory=settings.data / "edge",
        name=settings["EDGE_NAME"],
        http_port=settings.port("EDGE_HTTP_PORT"),
        https_port=settings.port("EDGE_HTTPS_PORT"),
        metrics_port=settings.port("EDGE_METRICS_PORT"),
        ingest_port=settings.port("INGEST_PORT"),
        dashboard_port=settings.port("DASHBOARD_PORT"),
        read_body=settings["EDGE_READ_BODY"],
    )


def edge_part(edge: Edge) -> Part:
    """HTTPS in front of ingest and dashboard, with a certificate of its own CA."""
    return Part(
        name="edge",
        after=("ingest", "dashboard"),
        prepare=edge.prepare,
        command=edge.command,
        is_ready=edge.is_ready,
    )


def first_password_file(settings: LocalSettings) -> Path:
    """Where the password of the dashboard's first user lies, for its owner alone to read."""
    return settings.secrets / "dashboard_first_password"


def simulator_part(settings: LocalSettings) -> Part:
    """Simulated phones, so that there is something to see."""
    options = ["--phones", settings["PHONES"], "--target", ingest_url(settings)]
    options += ["--token-file", str(token_file(settings.secrets, SIMULATOR))]
    return Part(
        name="simulator",
        after=("ingest",),
        command=lambda: python(["services.simulator", *options], {}, signal.SIGINT),
        stop_within_s=3,
    )


def push_url(settings: LocalSettings) -> str:
    """Where phones push to: the edge, if there is one."""
    return f"{edge(settings).url}/sensor_data" if int(settings["EDGE"]) > 0 else ingest_url(settings)


def ingest_url(settings: LocalSettings) -> str:
    """Where ingest itself is pushed to."""
    return f"http://{HOST}:{settings['INGEST_PORT']}/sensor_data"


def gunicorn(service: str, environment: dict[str, str]) -> Command:
    """The command that serves one of our services."""
    config = f"python:services.{service}.gunicorn_conf"
    return python(["gunicorn", "--config", config, f"services.{service}.wsgi:application"], environment)


def python(module: list[str], environment: dict[str, str], stop_signal: signal.Signals = signal.SIGTERM) -> Command:
    """A module run by the Python that runs this, its logs in columns."""
    common = {"LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}
    return Command([sys.executable, "-m", *module], common | environment, stop_signal=stop_signal)
