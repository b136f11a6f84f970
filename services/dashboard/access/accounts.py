"""What PostgreSQL knows of users, sign-ins and what people did. Every method raises `DatabaseAwayError`."""

import hashlib
from datetime import datetime
from typing import Final, Literal, NamedTuple

from services.dashboard.access.viewer import Actor, Viewer
from services.dashboard.database import Database

Action = Literal[
    "signed in",
    "signed out",
    "sign-in refused",
    "password changed",
    "user added",
    "user disabled",
    "user enabled",
    "role changed",
    "phone connected",
    "phone named",
    "token rotated",
    "token revoked",
    "session described",
    "session deleted",
    "phone deleted",
]
"""What the audit log can say."""

THROTTLE_S: Final = 900
_MOST_OF_PAIR: Final = 10
_MOST_OF_NETWORK: Final = 50
_MOST_OF_NAME: Final = 100

_FIND_USER: Final = """
SELECT user_id, name, role, password_hash FROM dashboard_user
WHERE lower(name) = lower(%(name)s) AND disabled_at IS NULL
"""
_MAKE_FIRST: Final = "SELECT make_first_user(%(name)s, %(password_hash)s)"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(network)s, 0))"
_WAIT: Final = """
SELECT greatest(
    (array_agg(left_s ORDER BY left_s DESC) FILTER (WHERE name = %(name)s AND network = %(network)s))[%(pair)s],
    (array_agg(left_s ORDER BY left_s DESC) FILTER (WHERE network = %(network)s))[%(networks)s],
    (array_agg(left_s ORDER BY left_s DESC) FILTER (WHERE name = %(name)s))[%(names)s])
FROM (SELECT name, network, extract(epoch FROM at - now())::float8 + %(window_s)s AS left_s FROM sign_in_failure
      WHERE at > now() - %(window_s)s * interval '1 second' AND (name = %(name)s OR network = %(network)s)) AS recent
"""
_NOTE_FAILURE: Final = "INSERT INTO sign_in_failure (name, network) VALUES (%(name)s, %(network)s)"
_FORGET_FAILURES: Final = """
DELETE FROM sign_in_failure
WHERE (name = %(name)s AND network = %(network)s) OR at < now() - interval '1 day'
"""
_BEGIN: Final = """
INSERT INTO sign_in (sha256, user_id, address, agent) VALUES (%(sha256)s, %(user_id)s, %(address)s, %(agent)s)
"""
_FORGET_OLD: Final = """
DELETE FROM sign_in WHERE created_at < now() - %(lifetime_s)s * interval '1 second'
    OR last_used < now() - %(idle_s)s * interval '1 second'
"""
_FIND_SIGN_IN: Final = """
SELECT user_id, name, role, extract(epoch FROM sign_in.created_at - now())::float8 + %(lifetime_s)s,
       last_used < now() - interval '1 minute'
FROM sign_in JOIN dashboard_user USING (user_id)
WHERE sha256 = %(sha256)s AND disabled_at IS NULL
  AND sign_in.created_at > now() - %(lifetime_s)s * interval '1 second'
  AND last_used > now() - %(idle_s)s * interval '1 second'
"""
_TOUCH: Final = "UPDATE sign_in SET last_used = now() WHERE sha256 = %(sha256)s"
_END: Final = "DELETE FROM sign_in WHERE sha256 = %(sha256)s"
_END_OTHERS: Final = "DELETE FROM sign_in WHERE user_id = %(user_id)s AND sha256 <> %(sha256)s RETURNING sha256"
_LIST_SIGN_INS: Final = """
SELECT sha256 = %(sha256)s, created_at, last_used, address, agent FROM sign_in
WHERE user_id = %(user_id)s ORDER BY last_used DESC
"""
_SET_PASSWORD: Final = "UPDATE dashboard_user SET password_hash = %(password_hash)s WHERE user_id = %(user_id)s"  # noqa: S105
_RECORD: Final = """
INSERT INTO audit (actor, address, action, subject, detail)
VALUES (%(actor)s, %(address)s, %(action)s, %(subject)s, %(detail)s)
"""
_AUDIT: Final = """
SELECT at, actor, address, action, subject, detail FROM audit ORDER BY audit_id DESC LIMIT %(limit)s
"""


class User(NamedTuple):
    """A user and the hash of the password."""

    viewer: Viewer
    password_hash: str


class SignIn(NamedTuple):
    """Who is signed in by a cookie, and for how many seconds at most it still counts."""

    viewer: Viewer
    left_s: float


class SignInRow(NamedTuple):
    """One browser in which a user is signed in; `is_this` where it is the one that asks."""

    is_this: bool
    created_at: datetime
    last_used: datetime
    address: str
    agent: str


class AuditRow(NamedTuple):
    """Something that somebody did."""

    at: datetime
    actor: str
    address: str
    action: str
    subject: str
    detail: str


class Accounts:
    """Users and sign-ins. `lifetime_s` and `idle_s`: how long a sign-in counts at most, and without being used."""

    def __init__(self, database: Database, lifetime_s: float, idle_s: float) -> None:
        self._database = database
        self._limits = {"lifetime_s": lifetime_s, "idle_s": idle_s}

    def find_user(self, name: str) -> User | None:
        """The user of that name, unless disabled. Upper and lower case are the same."""
        rows = self._database.rows("find_user", _FIND_USER, {"name": name})
        return next((User(Viewer(user_id, found, role), stored) for user_id, found, role, stored in rows), None)

    def make_first(self, name: str, password_hash: str) -> bool:
        """Make the first operator; false when there is any user already."""
        [[is_made]] = self._database.rows(
            "make_first_user", _MAKE_FIRST, {"name": name, "password_hash": password_hash}
        )
        return bool(is_made)

    def note_attempt(self, name: str, network: str) -> float:
        """Count an attempt as a failure until it succeeds: 0.0; or the seconds to wait where too many have failed."""
        place = {"name": _key(name), "network": network, "window_s": THROTTLE_S}
        limits = {"pair": _MOST_OF_PAIR, "networks": _MOST_OF_NETWORK, "names": _MOST_OF_NAME}
        with self._database.transaction("note_attempt") as cursor:
            cursor.execute(_LOCK, place)
            cursor.execute(_WAIT, place | limits)
            [wait_s] = cursor.fetchone() or [None]
            if wait_s is None:
                cursor.execute(_NOTE_FAILURE, place)
        return float(wait_s or 0.0)

    def begin(self, user: Viewer, sha256: bytes, network: str, address: str, agent: str) -> None:
        """Sign in. What has failed before no longer counts."""
        with self._database.transaction("begin_sign_in") as cursor:
            cursor.execute(_FORGET_FAILURES, {"name": _key(user.name), "network": network})
            cursor.execute(_FORGET_OLD, self._limits)
            row = {"sha256": sha256, "user_id": user.user_id, "address": address, "agent": agent}
            cursor.execute(_BEGIN, row)
            cursor.execute(_RECORD, _entry(Actor(user.name, address), "signed in"))

    def find_sign_in(self, sha256: bytes) -> SignIn | None:
        """Who is signed in by that cookie; it counts as used now. None when it ended, whatever the reason."""
        rows = self._database.rows("find_sign_in", _FIND_SIGN_IN, {"sha256": sha256, **self._limits})
        if not rows:
            return None
        [(user_id, name, role, left_s, is_due)] = rows
        if is_due:
            with self._database.transaction("touch_sign_in") as cursor:
                cursor.execute(_TOUCH, {"sha256": sha256})
        return SignIn(Viewer(user_id, name, role), left_s)

    def end(self, sha256: bytes, actor: Actor) -> None:
        """Sign out."""
        with self._database.transaction("end_sign_in") as cursor:
            cursor.execute(_END, {"sha256": sha256})
            cursor.execute(_RECORD, _entry(actor, "signed out"))

    def set_password(self, user: Viewer, password_hash: str, sha256: bytes, network: str, actor: Actor) -> list[bytes]:
        """Set a password and end the user's other sign-ins, which are returned."""
        with self._database.transaction("set_password") as cursor:
            cursor.execute(_FORGET_FAILURES, {"name": _key(user.name), "network": network})
            cursor.execute(_SET_PASSWORD, {"user_id": user.user_id, "password_hash": password_hash})
            cursor.execute(_END_OTHERS, {"user_id": user.user_id, "sha256": sha256})
            ended = [bytes(row[0]) for row in cursor.fetchall()]
            cursor.execute(_RECORD, _entry(actor, "password changed"))
        return ended

    def sign_ins(self, user_id: int, sha256: bytes) -> list[SignInRow]:
        """Where the user is signed in, the last used first."""
        rows = self._database.rows("sign_ins", _LIST_SIGN_INS, {"user_id": user_id, "sha256": sha256})
        return [SignInRow(*row) for row in rows]

    def record(self, actor: Actor, action: Action, subject: str = "", detail: str = "") -> None:
        """Write into the audit log."""
        with self._database.transaction("record") as cursor:
            cursor.execute(_RECORD, _entry(actor, action, subject, detail))

    def audit(self, limit: int) -> list[AuditRow]:
        """The newest entries of the audit log."""
        return [AuditRow(*row) for row in self._database.rows("audit", _AUDIT, {"limit": limit})]


def audit_entry(actor: Actor, action: Action, subject: str = "", detail: str = "") -> tuple[str, dict[str, str]]:
    """Statement and parameters of an entry, to be written in the transaction of what it tells of."""
    return _RECORD, _entry(actor, action, subject, detail)


def _key(name: str) -> str:
    """What stands for a name that somebody typed: people also type passwords there."""
    return hashlib.sha256(name.lower().encode()).hexdigest()


def _entry(actor: Actor, action: Action, subject: str = "", detail: str = "") -> dict[str, str]:
    return {"actor": actor.name, "address": actor.address, "action": action, "subject": subject, "detail": detail}
