"""Tokens of `make run`: one for the simulated phones, one for the curl command that it prints."""

from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from ops.local.errors import LocalError
from ops.local.postgres import Postgres
from services.common.database import connect
from services.common.tokens import TokenError, add_token, is_token, rotate_token
from services.ingest.tokens import write_token

SIMULATOR: Final = "simulator"
CURL: Final = "curl"


def token_file(secrets: Path, name: str) -> Path:
    """Where the token of that name lies, for its owner alone to read."""
    return secrets / f"{name}.token"


def make_tokens(cluster: Postgres) -> None:
    """Make the tokens, shared by any number of devices, unless they are there. Raises `LocalError`."""
    try:
        with closing(connect(cluster.settings("dashboard"), "make-run")) as connection:
            for name in (SIMULATOR, CURL):
                _keep(connection, name, token_file(cluster.secrets, name))
    except (TokenError, psycopg2.Error) as error:
        raise LocalError(f"tokens cannot be made: {str(error).strip().splitlines()[0]}") from None


def _keep(connection: Connection, name: str, file: Path) -> None:
    """A file and a database that do not know of each other, because one of them was removed, get a new token."""
    kept = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    match is_token(connection, name, kept):
        case None:
            write_token(file, add_token(connection, name, shared=True))
        case False:
            write_token(file, rotate_token(connection, name, overlap_s=0))
