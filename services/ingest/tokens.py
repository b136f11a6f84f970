"""`python -m services.ingest.tokens`: who may send. Connects as the role that its environment names."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, load
from services.common.terminal import columns, minute
from services.common.tokens import TokenEntry, TokenError, add_token, list_tokens, revoke_token, rotate_token

DAY_S: Final = 86_400
_STATEMENT_TIMEOUT_S: Final = 10


def main() -> int:
    """Do what the command line asks; the exit status is 0 when it was done, else one line says why not."""
    arguments = parse(sys.argv[1:])
    try:
        settings = load(DatabaseSettings, os.environ)
        with closing(connect(settings, "ingest-tokens", _STATEMENT_TIMEOUT_S)) as connection:
            print(run(connection, arguments))
    except (SettingsError, TokenError) as error:
        return _fail(str(error))
    except psycopg2.Error as error:
        return _fail(f"PostgreSQL: {str(error).strip().splitlines()[0]}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Exits with a usage message and status 2 for what cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m services.ingest.tokens", description="Tokens that phones send.")
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make a token and show it, once")
    add.add_argument("name", help="whose it is: a phone, a person, a class")
    add.add_argument("--shared", action="store_true", help="for many devices; else the first to use it owns it")
    actions.add_parser("list", help="name, created, last seen, device, state")
    rotate = actions.add_parser("rotate", help="make a new token in the place of one and show it, once")
    rotate.add_argument("name")
    rotate.add_argument(
        "--overlap", type=_seconds, default=DAY_S, metavar="SECONDS", help="how long both are valid (%(default)s)"
    )
    for action in (add, rotate):
        action.add_argument("--token-file", type=Path, metavar="FILE", help="write the token there and do not show it")
    actions.add_parser("revoke", help="refuse a token from now on, for good").add_argument("name")
    return parser.parse_args(arguments)


def run(connection: Connection, arguments: argparse.Namespace) -> str:
    """Do it, and return what to tell. Raises `TokenError` and `psycopg2.Error`."""
    match arguments.action:
        case "list":
            return table(list_tokens(connection))
        case "revoke":
            revoke_token(connection, arguments.name)
            return f"revoked {arguments.name}: it is refused within 10 s"
        case "add":
            token = add_token(connection, arguments.name, shared=arguments.shared)
        case _:
            token = rotate_token(connection, arguments.name, arguments.overlap)
    if arguments.token_file is None:
        return token
    try:
        write_token(arguments.token_file, token)
    except OSError as error:
        cause = f"{arguments.token_file} cannot be written ({error.strerror})"
        raise TokenError(f"{cause}; the token is lost: rotate {arguments.name}") from None
    return f"the token of {arguments.name} is in {arguments.token_file}"


def write_token(file: Path, token: str) -> None:
    """Put the token in a file that its owner alone can read, in the place of what is there; whole or not at all."""
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(f"{token}\n", encoding="utf-8")
    unfinished.replace(file)


def table(entries: Sequence[TokenEntry]) -> str:
    """The tokens in columns."""
    rows = [("NAME", "CREATED", "LAST SEEN", "DEVICE", "STATE")]
    for entry in entries:
        device = "(shared)" if entry.shared else entry.device or "-"
        rows.append((entry.name, minute(entry.created_at), minute(entry.last_seen), device, entry.state))
    return columns(rows)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 366 * DAY_S:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to a year of seconds")
    return seconds


def _fail(cause: str) -> int:
    print(cause, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
