"""Tokens: who may send. Only the SHA-256 of a token is stored, so a token is shown once, when it is made.

Each function takes a connection of a role that may write `ingest_token`, and commits what it does.
"""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final, Literal, NamedTuple

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812

MAX_NAME_LENGTH: Final = 128
_RANDOM_BYTES: Final = 24
_UNKNOWN: Final = "there is no token named {name}: `list` shows those that are"

_ADD: Final = "INSERT INTO ingest_token (name, sha256, shared) VALUES (%s, %s, %s)"
_LIST: Final = """
SELECT name, created_at, last_seen, shared, device,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN previous_until > now() THEN 'rotating' ELSE 'active' END
FROM ingest_token ORDER BY name
"""
_ROTATE: Final = """
UPDATE ingest_token
SET sha256 = %(sha256)s, previous_sha256 = sha256, previous_until = now() + %(overlap)s * interval '1 second'
WHERE name = %(name)s AND revoked_at IS NULL
"""
_REVOKE: Final = "UPDATE ingest_token SET revoked_at = coalesce(revoked_at, now()) WHERE name = %s"
_FIND: Final = "SELECT sha256 FROM ingest_token WHERE name = %s"

State = Literal["active", "rotating", "revoked"]
"""Rotating: the token and the one before it are both valid for a while."""


class TokenError(Exception):
    """A token cannot be made or changed as asked. The text is one line for the operator."""


class TokenEntry(NamedTuple):
    """What is known of a token. `device` is the deviceId it is bound to; a shared token never is."""

    name: str
    created_at: datetime
    last_seen: datetime | None
    shared: bool
    device: str | None
    state: State


def digest(token: str) -> bytes:
    """What is stored and looked up in a token's place."""
    return hashlib.sha256(token.encode()).digest()


def add_token(connection: Connection, name: str, *, shared: bool = False) -> str:
    """Make a token and return it. It binds to the first device that uses it, unless it is `shared` by many.

    Raises `TokenError` for a name that is taken or cannot be one.
    """
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable() and name.strip() == name):
        raise TokenError(f"{name!r} cannot be a name: use 1 to {MAX_NAME_LENGTH} printable characters")
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_ADD, (name, digest(token), shared))
    except psycopg2.errors.UniqueViolation:
        raise TokenError(f"a token named {name} exists already: rotate it or choose another name") from None
    return token


def list_tokens(connection: Connection) -> list[TokenEntry]:
    """All tokens by name, revoked ones too."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_LIST)
        return [TokenEntry(*row) for row in cursor.fetchall()]


def rotate_token(connection: Connection, name: str, overlap_s: float) -> str:
    """Make a new token in the place of `name`'s and return it; the old one stays valid for `overlap_s` seconds.

    Device and last use stay what they were. Raises `TokenError` for an unknown or revoked name.
    """
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    with connection, connection.cursor() as cursor:
        cursor.execute(_ROTATE, {"name": name, "sha256": digest(token), "overlap": overlap_s})
        if cursor.rowcount == 0:
            raise _cannot_rotate(cursor, name)
    return token


def revoke_token(connection: Connection, name: str) -> None:
    """Refuse the token from now on, for good. Raises `TokenError` for an unknown name."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_REVOKE, (name,))
        if cursor.rowcount == 0:
            raise TokenError(_UNKNOWN.format(name=name))


def is_token(connection: Connection, name: str, token: str) -> bool | None:
    """Whether `token` is the one of that name, whatever its state; None when there is no token of that name."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_FIND, (name,))
        found = cursor.fetchone()
    return None if found is None else hmac.compare_digest(found[0], digest(token))


def _cannot_rotate(cursor: Cursor, name: str) -> TokenError:
    cursor.execute(_FIND, (name,))
    if cursor.fetchone() is None:
        return TokenError(_UNKNOWN.format(name=name))
    return TokenError(f"the token {name} is revoked: add one under another name")
