"""Admission: who may send, and how fast. Decided in memory, in a few µs."""

import math

from services.ingest.credentials import find_token
from services.ingest.errors import IngestError
from services.ingest.rate import RateLimit
from services.ingest.request import Environ
from services.ingest.settings import IngestSettings
from services.ingest.token_cache import Token, TokenCache


class Admission:
    """Two questions to every message: the token before its body is read, its device once that is known."""

    def __init__(self, settings: IngestSettings, tokens: TokenCache, limit: RateLimit) -> None:
        self._in_url = settings.token_in_url
        self._tokens = tokens
        self._limit = limit

    def sign_in(self, environ: Environ) -> Token:
        """The token that the request came with. Raises `IngestError` when it has none that is valid."""
        if not self._tokens.loaded:
            raise IngestError("tokens_not_loaded")
        text = find_token(environ, self._in_url)
        if text is None:
            raise IngestError("no_token")
        token = self._tokens.find(text)
        if token is None:
            raise IngestError("wrong_token")
        if token.revoked:
            raise IngestError("token_revoked", token=token.name)
        return token

    def admit(self, token: Token, device: str) -> None:
        """Let the device send one message. Raises `IngestError` when the token is another's or it sends too fast."""
        if not (token.shared or self._tokens.bind(token, device)):
            raise IngestError("token_of_other_device", token=token.name)
        self._tokens.note_use(token)
        if wait_s := self._limit.take((token.token_id, device)):
            raise IngestError("too_fast", token=token.name, retry_after_s=math.ceil(wait_s))

    def checks(self) -> dict[str, str]:
        """Whether the tokens are known; how old they are is in the metrics, and does not make ingest unready."""
        return {"tokens": "ok" if self._tokens.loaded else "not read from PostgreSQL yet"}
