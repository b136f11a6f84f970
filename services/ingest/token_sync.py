"""Token sync: a thread that reads the tokens into the cache, and writes what the cache has learnt to PostgreSQL.

While PostgreSQL is away the cache stays as it is, and what it has learnt is written later.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from services.ingest import metrics
from services.ingest.log_limit import LimitedLog
from services.ingest.token_cache import TokenCache, TokenRow

USES_PERIOD_S: Final = 10.0
_CLOSE_WITHIN_S: Final = 3.0

log = logging.getLogger("services.ingest")

_READ: Final = """
SELECT token_id, name, sha256, previous_sha256,
       coalesce(extract(epoch FROM previous_until - now()), 0)::float, shared, device, revoked_at IS NOT NULL
FROM ingest_token
"""
_BIND: Final = "UPDATE ingest_token SET device = %s WHERE token_id = %s AND device IS NULL AND NOT shared"
# Locked in one order: several workers that note the same tokens never wait for each other in a circle.
_NOTE_USES: Final = """
WITH uses AS (
    SELECT token_id, now() - age * interval '1 second' AS used_at
    FROM unnest(%s::bigint[], %s::float[]) AS used (token_id, age)
), locked AS (
    SELECT token_id FROM ingest_token WHERE token_id = ANY (%s) ORDER BY token_id FOR NO KEY UPDATE
)
UPDATE ingest_token SET last_seen = greatest(last_seen, used_at)
FROM uses JOIN locked USING (token_id) WHERE ingest_token.token_id = uses.token_id
"""


class TokenSync:
    """Keeps a cache up to date every `period_s` seconds, over a connection of its own."""

    def __init__(self, cache: TokenCache, connect: Callable[[], Connection], period_s: float) -> None:
        self._cache = cache
        self._connect = connect
        self._period_s = period_s
        self._connection: Connection | None = None
        self._uses_written_at = time.monotonic()
        self._errors = LimitedLog(period_s=30)
        self._attempted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="token-sync", daemon=True)
        self._thread.start()

    def await_attempt(self, timeout_s: float) -> None:
        """Wait until the tokens have been read or could not be: a new worker then knows them from its first request."""
        self._attempted.wait(timeout_s)

    def close(self) -> None:
        """Write what is left to be written, then stop; a PostgreSQL that hangs is not waited for."""
        self._stopped.set()
        self._thread.join(_CLOSE_WITHIN_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._attempt(self._synchronise)
            self._attempted.set()
            self._stopped.wait(self._period_s)
        if self._connection is not None:
            self._attempt(self._write)

    def _attempt(self, step: Callable[[Cursor], None]) -> None:
        """Do it with a connection, a new one after a fault. Never raises: without this thread nothing is revoked."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                step(cursor)
        except psycopg2.Error as error:
            cause = str(error).strip().partition("\n")[0]
            self._errors.write(logging.WARNING, "away", f"tokens stay as they are: {cause}")
            self._disconnect()
        except Exception:
            log.exception("tokens stay as they are")
            self._disconnect()

    def _synchronise(self, cursor: Cursor) -> None:
        """Reading comes first: whatever is wrong with writing, a revoked token is refused."""
        cursor.execute(_READ)
        self._cache.load(map(_make_row, cursor))
        metrics.record_tokens_read()
        self._write_bindings(cursor)
        if time.monotonic() - self._uses_written_at >= USES_PERIOD_S:
            self._write_uses(cursor)

    def _write(self, cursor: Cursor) -> None:
        self._write_bindings(cursor)
        self._write_uses(cursor)

    def _write_bindings(self, cursor: Cursor) -> None:
        for token_id, device in self._cache.new_bindings().items():
            cursor.execute(_BIND, (device, token_id))

    def _write_uses(self, cursor: Cursor) -> None:
        since = time.monotonic() - self._uses_written_at
        uses = {token_id: age_s for token_id, age_s in self._cache.uses().items() if age_s <= since}
        if uses:
            cursor.execute(_NOTE_USES, (list(uses), list(uses.values()), list(uses)))
        self._uses_written_at += since

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


def _make_row(columns: tuple[Any, ...]) -> TokenRow:
    """psycopg2 gives views of bytes, by which nothing can be found in a dict."""
    return TokenRow._make(bytes(value) if isinstance(value, memoryview) else value for value in columns)
