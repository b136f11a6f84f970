"""Brokers and clusters of their own, on free ports, started by what `make run` uses."""

import signal

from ops.local.kafka import Kafka
from ops.local.libraries import LIBRARIES, collect
from ops.local.postgres import Postgres
from ops.local.processes import REPOSITORY, last_lines, start, stop, wait_until
from tests.ports import free_ports

START_TIMEOUT_S = 60


class Server:
    """A server that a test may stop, kill, pause and start again; `part` says what it is made of."""

    def __init__(self, part, directory):
        self.part = part
        self.log_file = directory / "log"
        self.process = None

    def start(self):
        self.process = start(self.part.command(), self.log_file, f"tests:{self.log_file}")
        ready = wait_until(self.part.is_ready, START_TIMEOUT_S, self.process)
        assert ready, "\n".join(last_lines(self.log_file, 10))

    def stop(self):
        """End it cleanly."""
        self.resume()
        return stop(self.process, self.part.command().stop_signal, 20)

    def kill(self):
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def pause(self):
        """Let it hang: connections stay open and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class KafkaServer(Server):
    """The broker, with its topics and access rules."""

    def start(self):
        super().start()
        self.part.make_topics()

    def stop(self):
        clean = super().stop()
        self.part.keep_class_archive()
        return clean

    def __getattr__(self, name):
        return getattr(self.part, name)


class PostgresServer(Server):
    """The cluster, with its roles and schema."""

    def start(self):
        super().start()
        self.part.make_roles()
        self.part.migrate()

    def __getattr__(self, name):
        return getattr(self.part, name)


def make_kafka(directory, certificates, name):
    """A broker of its own in `directory`/`name`; the caller starts and stops it."""
    collect(REPOSITORY / "ops" / "kafka", LIBRARIES / "kafka")
    port, controller_port = free_ports(2)
    kafka = Kafka(
        directory=directory / name,
        certificates=certificates,
        libraries=LIBRARIES / "kafka",
        port=port,
        controller_port=controller_port,
    )
    kafka.prepare()
    return KafkaServer(kafka, directory / name)


def make_postgres(directory, certificates, name):
    """A cluster of its own in `directory`/`name`; the caller starts and stops it."""
    [port] = free_ports(1)
    postgres = Postgres(
        directory=directory / name, certificates=certificates, secrets=directory / f"{name}-secrets", port=port
    )
    postgres.prepare()
    return PostgresServer(postgres, directory / name)
