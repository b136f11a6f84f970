"""`python -m services.dashboard.users`: who may look at the dashboard. Connects as the role `owner`."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import psycopg2
from psycopg2.errors import UniqueViolation
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name

from services.common.database import DatabaseSettings, connect
from services.common.settings import SettingsError, load
from services.common.terminal import columns, minute
from services.dashboard.access.accounts import Action, audit_entry
from services.dashboard.access.passwords import PasswordError, hash_password
from services.dashboard.access.viewer import Actor

MAX_NAME_LENGTH: Final = 128
_STATEMENT_TIMEOUT_S: Final = 10
_ADD: Final = "INSERT INTO dashboard_user (name, password_hash, role) VALUES (%(name)s, %(password_hash)s, %(role)s)"
_CHANGES: Final[dict[str, tuple[str, Action]]] = {
    "password": ("password_hash = %(password_hash)s", "password changed"),
    "role": ("role = %(role)s", "role changed"),
    "disable": ("disabled_at = coalesce(disabled_at, now())", "user disabled"),
    "enable": ("disabled_at = NULL", "user enabled"),
}
_SIGN_OUT: Final = """
DELETE FROM sign_in USING dashboard_user
WHERE sign_in.user_id = dashboard_user.user_id AND lower(name) = lower(%(name)s)
"""
_LIST: Final = """
SELECT name, role, created_at, (SELECT max(last_used) FROM sign_in WHERE sign_in.user_id = dashboard_user.user_id),
       disabled_at IS NOT NULL
FROM dashboard_user ORDER BY lower(name)
"""


class UserError(Exception):
    """A user cannot be made or changed as asked. The text is one line for the operator."""


class UserRow(NamedTuple):
    """What is known of a user. `last_used`: when one of the sign-ins that still count was used last."""

    name: str
    role: str
    created_at: datetime
    last_used: datetime | None
    is_disabled: bool


def main() -> int:
    """Do what the command line asks; the exit status is 0 when it was done, else one line says why not."""
    arguments = parse(sys.argv[1:])
    try:
        settings = load(DatabaseSettings, os.environ)
        password = read_password(arguments) if arguments.action in ("add", "password") else ""
        with closing(connect(settings, "dashboard-users", _STATEMENT_TIMEOUT_S)) as connection:
            print(run(connection, arguments, password))
    except (SettingsError, UserError, PasswordError) as error:
        return _fail(str(error))
    except psycopg2.Error as error:
        return _fail(f"PostgreSQL: {str(error).strip().splitlines()[0]}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Exits with a usage message and status 2 for what cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m services.dashboard.users", description="Users of the dashboard.")
    actions = parser.add_subparsers(dest="action", required=True)
    texts = {
        "add": "make a user; asks for the password",
        "password": "set a password; asks for it, and signs the user out",
        "role": "make a user a viewer or an operator",
        "disable": "let a user in no more, and sign the user out",
        "enable": "let a disabled user in again",
    }
    actions.add_parser("list", help="name, role, created, last used, disabled")
    for action, text in texts.items():
        command = actions.add_parser(action, help=text)
        command.add_argument("name")
        if action in ("add", "password"):
            command.add_argument("--password-file", type=Path, metavar="FILE", help="read the password there")
        if action == "role":
            command.add_argument("role", choices=["viewer", "operator"])
        if action == "add":
            command.add_argument("--role", choices=["viewer", "operator"], default="viewer", help="(%(default)s)")
    return parser.parse_args(arguments)


def read_password(arguments: argparse.Namespace) -> str:
    """From a file, or typed twice. Raises `UserError`."""
    if arguments.password_file is not None:
        try:
            return str(arguments.password_file.read_text(encoding="utf-8")).rstrip("\n")
        except OSError as error:
            raise UserError(f"{arguments.password_file} cannot be read: {error.strerror}") from None
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if password != getpass.getpass("once more: "):
        raise UserError("the two passwords differ")
    return password


def run(connection: Connection, arguments: argparse.Namespace, password: str = "") -> str:
    """Do it, and return what to tell. Raises `UserError`, `PasswordError` and `psycopg2.Error`."""
    match arguments.action:
        case "list":
            return table(list_users(connection))
        case "add":
            add_user(connection, arguments.name, password, arguments.role)
            return f"added {arguments.name}, {arguments.role}"
        case action:
            change_user(connection, arguments.name, action, getattr(arguments, "role", ""), password)
            return f"{_CHANGES[action][1]}: {arguments.name}"


def add_user(connection: Connection, name: str, password: str, role: str) -> None:
    """Make a user. Raises `UserError` for a name that is taken or cannot be one, and `PasswordError`."""
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable() and name.strip() == name):
        raise UserError(f"{name!r} cannot be a name: use 1 to {MAX_NAME_LENGTH} printable characters")
    row = {"name": name, "password_hash": hash_password(password, name), "role": role}
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_ADD, row)
            cursor.execute(*audit_entry(_actor(), "user added", name, role))
    except UniqueViolation:
        raise UserError(f"there is a user named {name} already") from None


def change_user(connection: Connection, name: str, action: str, role: str, password: str) -> None:
    """Change a user and end all sign-ins. Raises `UserError` for one who is not there, and `PasswordError`."""
    change, told = _CHANGES[action]
    values = {"name": name, "role": role, "password_hash": hash_password(password, name) if password else ""}
    if action == "password" and not password:
        raise PasswordError("The password is empty.")
    with connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE dashboard_user SET {change} WHERE lower(name) = lower(%(name)s)", values)
        if cursor.rowcount == 0:
            raise UserError(f"there is no user named {name}: `list` shows those that are")
        cursor.execute(_SIGN_OUT, values)
        cursor.execute(*audit_entry(_actor(), told, name, role))


def list_users(connection: Connection) -> list[UserRow]:
    """All users by name, disabled ones too."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_LIST)
        return [UserRow(*row) for row in cursor.fetchall()]


def table(users: Sequence[UserRow]) -> str:
    """Columns for a person."""
    rows = [("NAME", "ROLE", "CREATED", "LAST USED", "STATE")]
    for user in users:
        state = "disabled" if user.is_disabled else "active"
        rows.append((user.name, user.role, minute(user.created_at), minute(user.last_used), state))
    return columns(rows)


def _actor() -> Actor:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container no user has a name
        name = "somebody"
    return Actor(f"{name} at the terminal", "")


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
