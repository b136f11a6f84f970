"""What operators do to phones: connect, name, give a new token, revoke, delete. All of it is in the audit log."""

from typing import Final, NamedTuple

from psycopg2.errors import LockNotAvailable

from services.common.tokens import TokenError, add_token, revoke_token, rotate_token
from services.dashboard.access.accounts import audit_entry
from services.dashboard.access.viewer import Actor
from services.dashboard.database import Database
from services.dashboard.queries.phones import Platform

OVERLAP_S: Final = 86_400
"""How long the token before stays valid after a rotation."""
MAX_NAME_LENGTH: Final = 128

_DESCRIBE: Final = """
UPDATE device SET name = %(name)s, platform = %(platform)s, standardised = %(standardised)s WHERE device = %(device)s
"""
_TAKE_NAME: Final = """
UPDATE device SET name = ingest_token.name FROM ingest_token
WHERE ingest_token.device = device.device AND ingest_token.name = %(token)s AND NOT shared AND device.name IS NULL
"""
_DELETE: Final = """
SELECT deleted.* FROM device CROSS JOIN LATERAL delete_device(device_id) AS deleted WHERE device = %(device)s
"""


class ChangeError(Exception):
    """Something cannot be changed as asked. The text is one sentence for the operator."""


class Deleted(NamedTuple):
    """What has been deleted."""

    sessions: int
    messages: int
    readings: int


class Phones:
    """The changes. Each raises `DatabaseAwayError`, and `ChangeError` for what cannot be."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def connect(self, name: str, shared: bool, actor: Actor) -> str:
        """Make a token for one phone, or for several, and return it."""
        name = name.strip()
        try:
            with self._database.connection("add_token") as connection:
                token = add_token(connection, name, shared=shared)
        except TokenError as error:
            raise ChangeError(_sentence(error)) from None
        self._record(audit_entry(actor, "phone connected", name, "shared" if shared else ""))
        return token

    def rotate(self, name: str, actor: Actor) -> str:
        """Make a new token in the place of one, which stays valid for a day, and return it."""
        try:
            with self._database.connection("rotate_token") as connection:
                token = rotate_token(connection, name, OVERLAP_S)
        except TokenError as error:
            raise ChangeError(_sentence(error)) from None
        self._record(audit_entry(actor, "token rotated", name))
        return token

    def revoke(self, name: str, actor: Actor) -> None:
        """Refuse a token for good."""
        try:
            with self._database.connection("revoke_token") as connection:
                revoke_token(connection, name)
        except TokenError as error:
            raise ChangeError(_sentence(error)) from None
        self._record(audit_entry(actor, "token revoked", name))

    def name_after_token(self, token: str) -> None:
        """Call the phone that owns a token by the token's name, unless it has a name of its own."""
        with self._database.transaction("name_after_token") as cursor:
            cursor.execute(_TAKE_NAME, {"token": token})

    def describe(
        self, device: str, name: str, platform: Platform | None, standardised: bool | None, actor: Actor
    ) -> None:
        """Say what a phone is called and how it measures."""
        name = name.strip()
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise ChangeError(f"A name has at most {MAX_NAME_LENGTH} characters, all of them printable.")
        values = {"device": device, "name": name or None, "platform": platform, "standardised": standardised}
        units = {True: "standardised units", False: "units not standardised", None: "units not known"}[standardised]
        with self._database.transaction("describe_phone") as cursor:
            cursor.execute(_DESCRIBE, values)
            if cursor.rowcount == 0:
                raise ChangeError("There is no such phone any more.")
            cursor.execute(*audit_entry(actor, "phone named", device, f"{name}, {platform or 'unknown'}, {units}"))

    def delete(self, device: str, actor: Actor) -> Deleted:
        """Delete everything that a phone has sent. Its token stays: revoke it to keep the phone out."""
        try:
            with self._database.transaction("delete_device") as cursor:
                cursor.execute(_DELETE, {"device": device})
                deleted = Deleted(*(cursor.fetchone() or (0, 0, 0)))
                cursor.execute(*audit_entry(actor, "phone deleted", device, in_words(deleted)))
        except LockNotAvailable:
            raise ChangeError("The phone's data is being written right now: try again in a moment.") from None
        return deleted

    def _record(self, entry: tuple[str, dict[str, str]]) -> None:
        with self._database.transaction("record") as cursor:
            cursor.execute(*entry)


def in_words(deleted: Deleted) -> str:
    """How much that was."""
    return f"{deleted.sessions} sessions, {deleted.messages:,} messages, {deleted.readings:,} readings"


def _sentence(error: TokenError) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
