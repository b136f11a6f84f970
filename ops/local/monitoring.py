"""Prometheus and its exporters, as far as they are installed; with the configuration of production."""

import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import yaml

from ops.local.libraries import LIBRARIES, read_list
from ops.local.part import Part
from ops.local.postgres import Postgres
from ops.local.processes import REPOSITORY, Command
from ops.local.reach import answers
from ops.local.settings import HOST, LocalSettings

PROMETHEUS: Final = "prometheus"
POSTGRES_EXPORTER: Final = "prometheus-postgres-exporter"
NODE_EXPORTER: Final = "prometheus-node-exporter"
_NODE_COLLECTORS: Final = (
    "cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "textfile", "time", "timex"
)  # fmt: skip

_OF_PRODUCTION: Final = ("dns_sd_configs", "static_configs", "basic_auth")
"""How targets are found and signed in to there."""


def monitoring_parts(settings: LocalSettings, cluster: Postgres) -> list[Part]:
    """What of Prometheus and the exporters is installed here."""
    makers = {
        POSTGRES_EXPORTER: partial(postgres_exporter_part, settings, cluster),
        NODE_EXPORTER: partial(node_exporter_part, settings),
        PROMETHEUS: partial(prometheus_part, settings),
    }
    return [make() for program, make in makers.items() if shutil.which(program)]


def jvm_agent(name: str, port: int) -> str:
    """The option of Java that loads the exporter into the JVM of Kafka or Spark."""
    [jar] = read_list(REPOSITORY / "ops" / "kafka" / "exporter" / "jars.sha256")
    return f"-javaagent:{LIBRARIES / 'exporter' / jar}={HOST}:{port}:{REPOSITORY / 'ops' / name / 'jmx-exporter.yml'}"


def postgres_exporter_part(settings: LocalSettings, cluster: Postgres) -> Part:
    """PostgreSQL's own figures, and the sizes of our tables."""
    port = settings.port("POSTGRES_METRICS_PORT")
    tls = f"sslmode=verify-full&sslrootcert={cluster.ca_file}"
    environment = {
        "DATA_SOURCE_URI": f"{HOST}:{cluster.port}/{cluster.database}?{tls}",
        "DATA_SOURCE_USER": "exporter",
        "DATA_SOURCE_PASS_FILE": str(cluster.password_file("exporter")),
    }
    options = [
        f"--web.listen-address={HOST}:{port}",
        f"--extend.query-path={REPOSITORY / 'ops' / 'postgres' / 'exporter-queries.yml'}",
    ]
    return Part(
        name="postgres-exporter",
        after=("postgres",),
        command=lambda: Command([POSTGRES_EXPORTER, *options], environment),
        is_ready=partial(answers, port, "/metrics"),
    )


def node_exporter_part(settings: LocalSettings) -> Part:
    """The machine: disks, memory, clock, and when certificates end."""
    port = settings.port("NODE_METRICS_PORT")
    options = [
        f"--web.listen-address={HOST}:{port}",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in _NODE_COLLECTORS),
        f"--collector.textfile.directory={settings.certificates}",
    ]
    return Part(
        name="node-exporter",
        after=("certificates",),
        command=lambda: Command([NODE_EXPORTER, *options]),
        is_ready=partial(answers, port, "/metrics"),
    )


def prometheus_part(settings: LocalSettings) -> Part:
    """Prometheus with its rules, asking what runs here."""
    directory = settings.data / "prometheus"
    options = [
        f"--config.file={directory}/prometheus.yml",
        f"--web.listen-address={HOST}:{settings['PROMETHEUS_PORT']}",
        f"--storage.tsdb.path={directory}/data",
        "--storage.tsdb.retention.size=512MB",
        "--enable-feature=exemplar-storage",
    ]

    def prepare() -> None:
        directory.mkdir(exist_ok=True)
        text = (REPOSITORY / "ops" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
        configuration = localised(yaml.safe_load(text), local_targets(settings))
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")

    return Part(
        name="prometheus",
        prepare=prepare,
        command=lambda: Command([PROMETHEUS, *options]),
        is_ready=partial(answers, settings.port("PROMETHEUS_PORT"), "/-/ready"),
    )


def local_targets(settings: LocalSettings) -> dict[str, int]:
    """The metrics ports of what runs here, by the name of the job."""
    ports = {
        "ingest": "INGEST_METRICS_PORT",
        "kafka": "KAFKA_METRICS_PORT",
        "stream": "STREAM_METRICS_PORT",
        "spark": "SPARK_METRICS_PORT",
        "dashboard": "DASHBOARD_METRICS_PORT",
        "prometheus": "PROMETHEUS_PORT",
    }
    if int(settings["EDGE"]) > 0:
        ports["edge"] = "EDGE_METRICS_PORT"
    if shutil.which(POSTGRES_EXPORTER):
        ports["postgres"] = "POSTGRES_METRICS_PORT"
    if shutil.which(NODE_EXPORTER):
        ports["node"] = "NODE_METRICS_PORT"
    return {job: settings.port(name) for job, name in ports.items()}


def localised(configuration: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    """The configuration of production with these targets, and without the jobs of what has none."""
    jobs = []
    for job in configuration["scrape_configs"]:
        if job["job_name"] in ports:
            target = f"{HOST}:{ports[job['job_name']]}"
            rest = {name: value for name, value in job.items() if name not in _OF_PRODUCTION}
            jobs.append(rest | {"static_configs": [{"targets": [target]}]})
    rules = [str(REPOSITORY / "ops" / "prometheus" / pattern) for pattern in configuration["rule_files"]]
    kept = {name: value for name, value in configuration.items() if name != "alerting"}
    return kept | {"rule_files": rules, "scrape_configs": jobs}
