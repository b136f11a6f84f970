"""Connections to PostgreSQL: TLS with a verified server, a role per service, its password from a file."""

from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.settings import secret, setting


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Where PostgreSQL is and who connects."""

    host: str = setting("DATABASE_HOST", "host name of PostgreSQL, as its certificate names it")
    port: int = setting("DATABASE_PORT", "port of PostgreSQL", 5432)
    name: str = setting("DATABASE_NAME", "name of the database", "sensors")
    user: str = setting("DATABASE_USER", "role of this service")
    password: str = secret("DATABASE_PASSWORD", "file with the password of the role")
    ca_file: Path = setting("DATABASE_SSL_CA_FILE", "certificate of the CA that signed PostgreSQL's")


def connect(settings: DatabaseSettings, application: str, statement_timeout_s: float = 0) -> Connection:
    """A new connection. Raises `psycopg2.OperationalError` when PostgreSQL cannot be reached or refuses."""
    return psycopg2.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.name,
        user=settings.user,
        password=settings.password,
        sslmode="verify-full",
        sslrootcert=str(settings.ca_file),
        application_name=application,
        connect_timeout=5,
        tcp_user_timeout=30_000,  # ms: a peer that vanished is noticed in the middle of a transaction
        keepalives_idle=10,
        keepalives_interval=5,  # the kernel's 75 s would be waited for before the 30 s count
        keepalives_count=4,
        options=f"-c timezone=UTC -c statement_timeout={int(statement_timeout_s * 1000)}",
    )
