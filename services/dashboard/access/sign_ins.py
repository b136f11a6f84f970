"""Signing in and being signed in: passwords, throttling, and what is remembered while PostgreSQL is away."""

import hashlib
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.dashboard import metrics
from services.dashboard.access.accounts import Accounts, User
from services.dashboard.access.passwords import BusyError, PasswordError, hash_password, is_right
from services.dashboard.access.viewer import Actor, Viewer
from services.dashboard.database import DatabaseAwayError

REFRESH_S: Final = 5.0
"""A sign-in that was ended elsewhere is refused within this time."""
_MOST_HELD: Final = 10_000
_VIEWING_S: Final = 60.0
_LONGEST_AGENT: Final = 300


class RefusedError(Exception):
    """A sign-in is refused. The text is one sentence for the person; `wait_s` where trying again has to wait."""

    def __init__(self, sentence: str, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait_s: Final = wait_s


@dataclass(slots=True)
class _Held:
    """What is known of a cookie. Times are of the steady clock."""

    viewer: Viewer
    ends_at: float
    confirmed_at: float
    ask_at: float
    used_at: float


@dataclass(frozen=True, kw_only=True)
class FirstUser:
    """The operator who is made when there is no user yet; no password, no first user."""

    name: str
    password: str


class SignIns:
    """Who is signed in. PostgreSQL is asked every few seconds; while it is away, its last word counts for `away_s`."""

    def __init__(
        self, accounts: Accounts, first: FirstUser, away_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._accounts = accounts
        self._first = first
        self._away_s = away_s
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, _Held] = OrderedDict()

    def begin(self, name: str, password: str, address: str, agent: str) -> str:
        """Check the password and return the secret of a new sign-in. Raises `RefusedError`."""
        try:
            secret = self._begin(name, password, address, agent)
        except DatabaseAwayError:
            metrics.record_sign_in("away")
            raise RefusedError("The database cannot be reached: try again in a moment.", 5.0) from None
        except BusyError:
            metrics.record_sign_in("throttled")
            raise RefusedError("Many people sign in right now: try again in a moment.", 2.0) from None
        metrics.record_sign_in("accepted")
        return secret

    def _begin(self, name: str, password: str, address: str, agent: str) -> str:
        network = network_of(address)
        if wait_s := self._accounts.note_attempt(name, network):
            metrics.record_sign_in("throttled")
            minutes = max(1, round(wait_s / 60))
            raise RefusedError(f"Too many attempts have failed: try again in {minutes} min.", wait_s)
        user = self._accounts.find_user(name) or self._make_first(name, password)
        if not is_right(password, user.password_hash if user else None) or user is None:
            metrics.record_sign_in("wrong")
            self._accounts.record(Actor(user.viewer.name if user else "unknown", address), "sign-in refused")
            raise RefusedError("User name or password is not right.")
        secret = secrets.token_urlsafe(32)
        self._accounts.begin(user.viewer, digest(secret), network, address, agent[:_LONGEST_AGENT])
        return secret

    def _make_first(self, name: str, password: str) -> User | None:
        """The first user, when it is the one that asks and there is none yet."""
        is_first = bool(self._first.password) and name.lower() == self._first.name.lower()
        if not is_first or not secrets.compare_digest(password.encode(), self._first.password.encode()):
            return None
        try:
            self._accounts.make_first(self._first.name, hash_password(password, self._first.name))
        except PasswordError as error:
            raise RefusedError(f"The first password cannot be used: {error}") from None
        return self._accounts.find_user(name)

    def viewer(self, secret: str) -> Viewer | None:
        """Who is signed in by this secret. Raises `DatabaseAwayError` when that is not known and cannot be asked."""
        key, now = digest(secret), self._clock()
        with self._lock:
            held = self._held.get(key)
            if held and now >= held.ends_at:
                del self._held[key]
                return None
            if held:
                held.used_at = now
                if now < held.ask_at:
                    return held.viewer
                held.ask_at = now + REFRESH_S  # this thread asks, the others go on meanwhile
        return self._ask(key, held, now)

    def _ask(self, key: bytes, held: _Held | None, now: float) -> Viewer | None:
        try:
            found = self._accounts.find_sign_in(key)
        except DatabaseAwayError:
            if held is None or now - held.confirmed_at > self._away_s:
                raise
            return held.viewer
        with self._lock:
            if found is None:
                self._held.pop(key, None)
                return None
            self._held[key] = _Held(found.viewer, now + found.left_s, now, now + REFRESH_S, now)
            self._held.move_to_end(key)
            while len(self._held) > _MOST_HELD:
                self._held.popitem(last=False)
        return found.viewer

    def viewers(self) -> int:
        """In how many browsers somebody has looked within the last minute."""
        now = self._clock()
        with self._lock:
            return sum(now - held.used_at < _VIEWING_S for held in self._held.values())

    def end(self, secret: str, actor: Actor) -> None:
        """Sign out. Raises `DatabaseAwayError`."""
        self._accounts.end(digest(secret), actor)
        self.forget([digest(secret)])

    def change_password(self, secret: str, viewer: Viewer, actor: Actor, old: str, new: str) -> None:
        """Set a new password and end the other sign-ins. Raises `RefusedError` and `DatabaseAwayError`."""
        network = network_of(actor.address)
        if wait_s := self._accounts.note_attempt(viewer.name, network):
            raise RefusedError("Too many attempts have failed: try again later.", wait_s)
        user = self._accounts.find_user(viewer.name)
        try:
            if user is None or not is_right(old, user.password_hash):
                raise RefusedError("The password that you have now is not right.")
            hashed = hash_password(new, viewer.name)
        except PasswordError as error:
            raise RefusedError(str(error)) from None
        except BusyError:
            raise RefusedError("Many people sign in right now: try again in a moment.", 2.0) from None
        self.forget(self._accounts.set_password(viewer, hashed, digest(secret), network, actor))

    def forget(self, keys: list[bytes]) -> None:
        """Ask PostgreSQL again before these count."""
        with self._lock:
            for key in keys:
                self._held.pop(key, None)


def digest(secret: str) -> bytes:
    """What is stored and looked up in a secret's place."""
    return hashlib.sha256(secret.encode()).digest()


def network_of(address: str) -> str:
    """What is throttled: an IPv4 address, or the /64 that one household has in IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
    return address
