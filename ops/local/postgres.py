"""A PostgreSQL cluster of its own, with the configuration, roles and migrations of production."""

import os
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.local.errors import LocalError
from ops.local.processes import REPOSITORY, Command, find_working_in, run, user_ids, wait_until
from services.common.database import DatabaseSettings

ROLES: Final = ("owner", "stream_writer", "ingest_reader", "dashboard", "grafana_reader", "exporter")
_FILES: Final = REPOSITORY / "ops" / "postgres"
_SUPERUSER: Final = "postgres"
_SYSTEM_USER: Final = "postgres"
_ENDS_WITHIN_S: Final = 20  # what a killed server leaves notices that by itself


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One cluster: where its data, certificates and passwords lie, its port and its database."""

    directory: Path
    certificates: Path
    secrets: Path
    port: int
    database: str = "sensors"

    @property
    def cluster(self) -> Path:
        """The data directory."""
        return self.directory / "cluster"

    @property
    def ca_file(self) -> Path:
        return self.certificates / "ca.crt"

    def password_file(self, role: str) -> Path:
        return self.secrets / role

    def environment(self, role: str) -> dict[str, str]:
        """What a client that acts as `role` needs to know."""
        return {
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(self.port),
            "DATABASE_NAME": self.database,
            "DATABASE_USER": role,
            "DATABASE_PASSWORD_FILE": str(self.password_file(role)),
            "DATABASE_SSL_CA_FILE": str(self.ca_file),
        }

    def settings(self, role: str) -> DatabaseSettings:
        """The same, as settings."""
        password = self.password_file(role).read_text(encoding="utf-8").strip()
        return DatabaseSettings(
            host="127.0.0.1", port=self.port, name=self.database, user=role, password=password, ca_file=self.ca_file
        )

    def prepare(self) -> None:
        """Make passwords and the cluster, once, and put its configuration and certificate in place."""
        self.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in (*ROLES, _SUPERUSER):
            make_password(self.password_file(role))
        self.directory.mkdir(parents=True, exist_ok=True)
        self._give(self.directory)
        if not (self.cluster / "PG_VERSION").exists():
            self._make_cluster()
        for name in ("postgresql.conf", "pg_hba.conf"):
            self._place(_FILES / name, name)
        self._place(self.certificates / "postgres.crt", "server.crt")
        self._place(self.certificates / "postgres.key", "server.key")
        self._forget_killed_server()

    def command(self) -> Command:
        """The server, on loopback only and without a Unix socket."""
        own = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=")
        arguments = [program("postgres"), "-D", str(self.cluster)]
        arguments += [part for setting in own for part in ("-c", setting)]
        return self._as_server(arguments)

    def is_ready(self) -> bool:
        """Whether the server takes connections."""
        try:
            run(Command([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]), "PostgreSQL")
        except LocalError:
            return False
        return True

    def make_roles(self) -> None:
        """Roles, their passwords, the database and who may enter it. Passwords go through files and a pipe only."""
        names = (*ROLES,)
        values = {f"{role}_password": self.password_file(role).read_text(encoding="utf-8").strip() for role in names}
        variables = "".join(
            f"\\set {name} '{value}'\n" for name, value in (values | {"database": self.database}).items()
        )
        script = (_FILES / "roles.sql").read_text(encoding="utf-8")
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.secrets, prefix=".pgpass-") as passwords:
            password = self.password_file(_SUPERUSER).read_text(encoding="utf-8").strip()
            passwords.write(f"127.0.0.1:{self.port}:*:{_SUPERUSER}:{password}\n")
            passwords.flush()
            environment = {"PGPASSFILE": passwords.name, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca_file)}
            where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", _SUPERUSER, "-d", "postgres"]
            run(
                Command([program("psql"), "-X", "-q", "-w", *where, "-f", "-"], environment),
                "roles",
                variables + script,
            )

    def migrate(self) -> None:
        """Bring the schema up to date, as the role `owner`."""
        environment = self.environment("owner") | {"OWNER_PASSWORD_FILE": str(self.password_file("owner"))}
        arguments = [sys.executable, "-m", "alembic", "-c", str(_FILES / "alembic.ini"), "upgrade", "head"]
        run(Command(arguments, environment), "migrations")

    def _as_server(self, arguments: list[str]) -> Command:
        """SIGINT is the server's "fast" stop: it rolls back and ends without waiting for its clients."""
        return Command(
            arguments, directory=Path("/"), user=system_user(), home=self.directory, stop_signal=signal.SIGINT
        )

    def _make_cluster(self) -> None:
        """Made beside its place and moved there, so that an interrupted start leaves no half of it."""
        unfinished = self.directory / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            self._give(Path(work))
            password = Path(work, "password")
            shutil.copyfile(self.password_file(_SUPERUSER), password)
            self._give(password)
            options = ["-A", "scram-sha-256", "--data-checksums", "-E", "UTF8", "--locale=C.UTF-8", "-U", _SUPERUSER]
            arguments = [program("initdb"), *options, f"--pwfile={password}", "-D", str(unfinished)]
            run(self._as_server(arguments), "PostgreSQL's cluster")
        shutil.rmtree(self.cluster, ignore_errors=True)
        unfinished.rename(self.cluster)

    def _forget_killed_server(self) -> None:
        """Remove the lock file that a killed server left, once neither it nor a process of it works here any more.

        The server takes the process id in it for a running one while a killed parent's id waits to be reaped.
        """
        if wait_until(lambda: not any(find_working_in(self.cluster)), _ENDS_WITHIN_S):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _place(self, source: Path, name: str) -> None:
        target = self.cluster / name
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        self._give(target)
        target.write_bytes(source.read_bytes())

    def _give(self, path: Path) -> None:
        """To the user that the server runs as."""
        if user := system_user():
            os.chown(path, *user_ids(user))


def system_user() -> str | None:
    """Whom the server runs as: never root; None for who runs this."""
    return _SYSTEM_USER if os.geteuid() == 0 else None


def program(name: str) -> str:
    """Where a program of PostgreSQL is: Debian keeps the server's outside of the path. Raises `LocalError`."""
    versions = sorted(Path("/usr/lib/postgresql").glob("[0-9]*"), key=lambda path: int(path.name), reverse=True)
    for found in [*(str(path / "bin" / name) for path in versions), shutil.which(name)]:
        if found and os.access(found, os.X_OK):
            return found
    raise LocalError("PostgreSQL is missing; install it: sudo apt-get install postgresql")


def make_password(file: Path) -> None:
    """A new random password, readable by its owner only; written whole or not at all."""
    if file.exists():
        return
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(f"{secrets.token_urlsafe(32)}\n", encoding="utf-8")
    unfinished.rename(file)
