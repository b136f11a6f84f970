"""What operators do to sessions: name, annotate, delete. All of it is in the audit log."""

from typing import Final

from psycopg2.errors import LockNotAvailable

from services.dashboard.access.accounts import audit_entry
from services.dashboard.access.viewer import Actor
from services.dashboard.database import Database
from services.dashboard.phones import ChangeError, Deleted, in_words

MAX_NAME_LENGTH: Final = 128
MAX_NOTES_LENGTH: Final = 10_000

_DESCRIBE: Final = """
UPDATE session SET title = %(name)s, notes = %(notes)s
WHERE session_id = %(session_id)s AND messages > 0 RETURNING session
"""
_NAME: Final = """
SELECT concat_ws(' of ', session, device) FROM session JOIN device USING (device_id) WHERE session_id = %(session_id)s
"""
_DELETE: Final = "SELECT * FROM delete_session(%(session_id)s)"


class Sessions:
    """The changes. Each raises `DatabaseAwayError`, and `ChangeError` for what cannot be."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self, session_id: int, name: str, notes: str, actor: Actor) -> None:
        """Give a session a name and notes; empty ones are taken away."""
        name, notes = name.strip(), notes.strip()
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise ChangeError(f"A name has at most {MAX_NAME_LENGTH} characters, all of them printable.")
        if len(notes) > MAX_NOTES_LENGTH or "\0" in notes:
            raise ChangeError(f"Notes have at most {MAX_NOTES_LENGTH} characters.")
        values = {"session_id": session_id, "name": name or None, "notes": notes or None}
        with self._database.transaction("describe_session") as cursor:
            cursor.execute(_DESCRIBE, values)
            found = cursor.fetchone()
            if found is None:
                raise ChangeError("There is no such session any more.")
            cursor.execute(*audit_entry(actor, "session described", found[0], name))

    def delete(self, session_id: int, actor: Actor) -> Deleted:
        """Delete a session everywhere."""
        try:
            with self._database.transaction("delete_session") as cursor:
                cursor.execute(_NAME, {"session_id": session_id})
                [name] = cursor.fetchone() or [str(session_id)]
                cursor.execute(_DELETE, {"session_id": session_id})
                deleted = Deleted(*(cursor.fetchone() or (0, 0, 0)))
                cursor.execute(*audit_entry(actor, "session deleted", name, in_words(deleted)))
        except LockNotAvailable:
            raise ChangeError("The session is being written right now: try again in a moment.") from None
        return deleted
