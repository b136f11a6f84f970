"""Questions about phones and their tokens."""

from datetime import datetime
from typing import Final, Literal, NamedTuple

from services.dashboard.database import Database

Platform = Literal["ios", "android"]
TokenState = Literal["active", "rotating", "revoked"]


class PhoneRow(NamedTuple):
    """One phone. `name` is what somebody called it, else what its token is called. Times are the broker's.

    `seems_android`: its readings say how accurate they are, as only Android does; None without a reading that could.
    `battery`: from 0 to 1, of the newest minute in which it was told. `token` is None for a phone of a shared token.
    """

    device: str
    name: str | None
    platform: Platform | None
    standardised: bool | None
    first_seen: datetime
    last_seen: datetime
    seems_android: bool | None
    battery: float | None
    battery_at: datetime | None
    session: str | None
    token: str | None
    token_state: TokenState | None


class TokenRow(NamedTuple):
    """A token that is bound to no phone: not used yet, or shared by several."""

    name: str
    shared: bool
    created_at: datetime
    last_seen: datetime | None
    state: TokenState


class Arrival(NamedTuple):
    """What has come with a token. `session` is the newest one of its phone."""

    last_seen: datetime | None
    device: str | None
    session: str | None


_STATE: Final = """
CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN previous_until > now() THEN 'rotating' ELSE 'active' END
"""
_PHONES: Final = f"""
SELECT device, coalesce(device.name, token.name), platform, standardised, first_seen, device.last_seen,
       signs.seems_android, battery.mean, battery.start, newest.session, token.name, token.state
FROM device
CROSS JOIN LATERAL (
    SELECT session_id, session FROM session
    WHERE session.device_id = device.device_id AND messages > 0 ORDER BY session_id DESC LIMIT 1) AS newest
LEFT JOIN LATERAL (
    SELECT name, {_STATE} AS state FROM ingest_token WHERE ingest_token.device = device.device
    ORDER BY revoked_at IS NOT NULL, token_id DESC LIMIT 1) AS token ON true
LEFT JOIN LATERAL (
    SELECT bool_or(channel = 'accuracy') AS seems_android FROM series
    WHERE series.session_id = newest.session_id
      AND sensor IN ('accelerometer', 'gyroscope', 'magnetometer')) AS signs ON true
LEFT JOIN LATERAL (
    SELECT mean, start FROM window_60s
    WHERE series_id = (SELECT series_id FROM series WHERE series.session_id = newest.session_id
                       AND sensor = 'battery' AND channel = 'batteryLevel')
    ORDER BY start DESC LIMIT 1) AS battery ON true
ORDER BY device.last_seen DESC LIMIT %(limit)s
"""
_UNBOUND: Final = f"""
SELECT name, shared, created_at, last_seen, {_STATE} FROM ingest_token WHERE device IS NULL ORDER BY token_id DESC
"""
_ARRIVAL: Final = """
SELECT ingest_token.last_seen, ingest_token.device,
       (SELECT session FROM session JOIN device USING (device_id)
        WHERE device.device = ingest_token.device AND messages > 0 ORDER BY session_id DESC LIMIT 1)
FROM ingest_token WHERE name = %(name)s
"""
MOST_PHONES: Final = 500


class PhoneQueries:
    """The questions. Each raises `DatabaseAwayError` while PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def phones(self) -> list[PhoneRow]:
        """The phones that have sent something, the last heard of first."""
        return [PhoneRow(*row) for row in self._database.rows("phones", _PHONES, {"limit": MOST_PHONES})]

    def unbound_tokens(self) -> list[TokenRow]:
        """Tokens that belong to no phone, the newest first."""
        return [TokenRow(*row) for row in self._database.rows("unbound_tokens", _UNBOUND)]

    def arrival(self, token_name: str) -> Arrival | None:
        """What has come with the token of that name; None when there is none."""
        rows = self._database.rows("arrival", _ARRIVAL, {"name": token_name})
        return Arrival(*rows[0]) if rows else None
