"""Passwords: argon2id, with the parameters that RFC 9106 recommends where memory is scarce (64 MiB, 3 passes)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

SHORTEST: Final = 12
LONGEST: Final = 256
_AT_A_TIME: Final = 2
_PATIENCE_S: Final = 2.0

_hasher: Final = PasswordHasher()
_room: Final = threading.BoundedSemaphore(_AT_A_TIME)  # a flood of attempts must not take all memory or threads
_UNKNOWN: Final = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class PasswordError(Exception):
    """A password cannot be used. The text is one sentence for the person who chose it."""


class BusyError(Exception):
    """Too many passwords are being looked at: later is right."""


def hash_password(password: str, name: str) -> str:
    """What is stored in the password's place. Raises `PasswordError` for one that is too easy to guess."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if len(password.lower().replace(name.lower(), "")) < SHORTEST // 2:
        raise PasswordError("A password must not be made of the user's name.")
    if len(set(password)) < 5:
        raise PasswordError("A password has at least five different characters.")
    with turn():
        return _hasher.hash(password)


def is_right(password: str, stored: str | None) -> bool:
    """Whether the password is that of the hash; takes as long for None, a user who is not there. Raises `BusyError`."""
    with turn():
        try:
            return _hasher.verify(stored or _UNKNOWN, password[: LONGEST + 1]) and stored is not None
        except (Argon2Error, InvalidHashError):
            return False


@contextmanager
def turn() -> Iterator[None]:
    """Room for one password to be looked at. Raises `BusyError` when there is none for two seconds."""
    if not _room.acquire(timeout=_PATIENCE_S):
        raise BusyError
    try:
        yield
    finally:
        _room.release()
