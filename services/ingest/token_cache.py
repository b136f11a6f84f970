"""Token cache: what a worker knows of the tokens, so that no request ever waits for PostgreSQL.

Requests look up, bind and note uses here, in memory; `token_sync` brings both ways what has changed.
"""

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from services.common.tokens import digest

NEVER: Final = float("inf")


class TokenRow(NamedTuple):
    """A token as PostgreSQL holds it; the one before it is valid for `previous_s` more seconds."""

    token_id: int
    name: str
    sha256: bytes
    previous_sha256: bytes | None
    previous_s: float
    shared: bool
    device: str | None
    revoked: bool


class Token(NamedTuple):
    """A token that was found. `header` is what records carry of it."""

    token_id: int
    name: str
    header: bytes
    shared: bool
    device: str | None
    revoked: bool


class _Secret(NamedTuple):
    sha256: bytes
    valid_until: float
    token: Token


class TokenCache:
    """The tokens as last read; which devices they were bound to and when they were used since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secrets: Mapping[bytes, _Secret] | None = None
        self._bindings: dict[int, str] = {}
        self._uses: dict[int, float] = {}

    @property
    def loaded(self) -> bool:
        """Whether the tokens have been read at least once."""
        return self._secrets is not None

    def find(self, text: str) -> Token | None:
        """The token whose secret `text` is. To be asked once the tokens are loaded."""
        assert self._secrets is not None
        sha256 = digest(text)
        secret = self._secrets.get(sha256)
        if secret is None or not hmac.compare_digest(secret.sha256, sha256) or secret.valid_until <= self._clock():
            return None
        return secret.token

    def bind(self, token: Token, device: str) -> bool:
        """Whether the device may use the token; the first device of a token that is not shared becomes its own.

        This is decided at once among the threads of this worker. Between workers PostgreSQL decides, by the first
        binding that is written to it: the device of the other worker is refused once that has been read back.
        """
        owner = token.device or self._bindings.get(token.token_id) or self._bindings.setdefault(token.token_id, device)
        return owner == device

    def note_use(self, token: Token) -> None:
        """Remember that the token was used now."""
        self._uses[token.token_id] = self._clock()

    def load(self, rows: Iterable[TokenRow]) -> None:
        """Take over what PostgreSQL holds. Bindings that it does not know yet are kept."""
        now = self._clock()
        secrets: dict[bytes, _Secret] = {}
        unbound = set()
        for row in rows:
            token = Token(row.token_id, row.name, str(row.token_id).encode(), row.shared, row.device, row.revoked)
            secrets[row.sha256] = _Secret(row.sha256, NEVER, token)
            if row.previous_sha256 is not None:
                secrets[row.previous_sha256] = _Secret(row.previous_sha256, now + row.previous_s, token)
            if row.device is None and not row.shared:
                unbound.add(row.token_id)
        self._secrets = secrets
        for token_id in self.new_bindings().keys() - unbound:
            del self._bindings[token_id]

    def new_bindings(self) -> dict[int, str]:
        """The devices by token id that PostgreSQL is to be told of: a copy, for requests bind meanwhile."""
        return self._bindings.copy()

    def uses(self) -> dict[int, float]:
        """For each token that was used here, how many seconds ago that was last."""
        now = self._clock()
        return {token_id: now - used_at for token_id, used_at in self._uses.copy().items()}
