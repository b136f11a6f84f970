"""A Kafka broker of its own, with the configuration, certificates, topics and access rules of production."""

import hashlib
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.local.processes import REPOSITORY, Command, run
from ops.local.reach import accepts_connections

_PROPERTIES: Final = REPOSITORY / "ops" / "kafka" / "server.properties"
_LOG_SETTINGS: Final = REPOSITORY / "ops" / "kafka" / "log4j2.properties"
_SMALL_JVM: Final = (
    "-XX:+UseSerialGC", "-XX:ReservedCodeCacheSize=64m", "-XX:MaxDirectMemorySize=64m",
    "-XX:+ExitOnOutOfMemoryError", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """One broker: where its data, certificates and libraries lie, its ports and its topics."""

    directory: Path
    certificates: Path
    libraries: Path
    port: int
    controller_port: int
    topic: str = "sensor-messages"
    test_topic: str = "test-pushes"
    partitions: int = 2
    retention_days: int = 7
    retention_mib: int = 4096
    heap_mib: int = 256
    agent: str = ""
    """Option of Java that loads the exporter of metrics, if there is to be one."""

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.certificates / "ca.crt"

    def certificate_file(self, principal: str) -> Path:
        """Key and certificate of `principal`: broker, admin, ingest or stream."""
        return self.certificates / f"{principal}.pem"

    def environment(self, principal: str) -> dict[str, str]:
        """What a client that acts as `principal` needs to know."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_CA_FILE": str(self.ca_file),
            "KAFKA_CERTIFICATE_FILE": str(self.certificate_file(principal)),
            "KAFKA_TOPIC": self.topic,
            "KAFKA_TEST_TOPIC": self.test_topic,
        }

    def prepare(self) -> None:
        """Write the configuration and make the broker's directory, once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        own = "\n".join(f"{name}={value}" for name, value in self._own_settings().items())
        self._configuration.write_text(f"{_PROPERTIES.read_text(encoding='utf-8')}\n{own}\n", encoding="utf-8")
        if not (self.directory / "data" / "meta.properties").exists():
            self._format()

    def command(self) -> Command:
        """The broker. Its first run writes an archive of classes, with which later ones start in half the time."""
        heap = (f"-Xms{self.heap_mib}m", f"-Xmx{self.heap_mib}m")
        agent = (self.agent, "-XX:+UnlockDiagnosticVMOptions", "-XX:+AllowArchivingWithJavaAgent") if self.agent else ()
        return self._java(*heap, *agent, self._class_archive(), "kafka.Kafka", str(self._configuration))

    def is_ready(self) -> bool:
        """Whether the broker takes connections; it opens its port once it can serve."""
        return accepts_connections(self.port)

    def make_topics(self) -> None:
        """Topics and access rules, as in production; nothing happens to those that are there."""
        environment = self.environment("admin") | {
            "KAFKA_PARTITIONS": str(self.partitions),
            "KAFKA_RETENTION_DAYS": str(self.retention_days),
            "KAFKA_RETENTION_MIB": str(self.retention_mib),
        }
        run(Command([sys.executable, "-m", "ops.kafka.topics"], environment), "topics")

    def keep_class_archive(self) -> None:
        """Take the archive that a broker which ended cleanly has written."""
        if self._new_archive.exists():
            self._new_archive.replace(self._archive)

    @property
    def _configuration(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _archive(self) -> Path:
        """Of this very Java: another one, or the next version of it, would have no use for it."""
        found = Path(shutil.which(_java_program()) or _java_program()).resolve()
        version = found.stat().st_mtime_ns if found.exists() else 0
        java = hashlib.sha256(f"{found} {version}".encode()).hexdigest()[:8]
        return self.libraries / f"classes-{java}.jsa"

    @property
    def _new_archive(self) -> Path:
        return self._archive.with_suffix(f".{self.port}.new")

    def _class_archive(self) -> str:
        if self._archive.exists():
            return f"-XX:SharedArchiveFile={self._archive}"
        self._new_archive.unlink(missing_ok=True)
        return f"-XX:ArchiveClassesAtExit={self._new_archive}"

    def _own_settings(self) -> dict[str, object]:
        return {
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"SSL://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "ssl.keystore.location": self.certificate_file("broker"),
            "ssl.truststore.location": self.ca_file,
            "log.dirs": self.directory / "data",
        }

    def _format(self) -> None:
        cluster = "A" + secrets.token_urlsafe(16)[:21]  # an id must not start with "-"
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._configuration))
        run(self._java("-Xmx128m", *tool, "--ignore-formatted"), "Kafka's data directory")

    def _java(self, *arguments: str) -> Command:
        logs = f"-Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}"
        return Command(
            [_java_program(), *_SMALL_JVM, logs, "-cp", f"{self.libraries}/*", *arguments], directory=self.directory
        )


def _java_program() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else "java"
