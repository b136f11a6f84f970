"""Record: from the bytes of a message to what is written to Kafka."""

from typing import Final, NamedTuple

from services.common.message import MessageError, TestPush, parse_message
from services.ingest.errors import IngestError
from services.ingest.settings import IngestSettings

_PARTS_OF_A_READING: Final = 3
"""Objects and lists in a reading, in the mean: itself, its values, and a list among them."""
_FEW_PARTS: Final = 100_000
Headers = list[tuple[str, str | bytes | None]]


class Record(NamedTuple):
    """One record of `topic`; records with the same key keep their order. `readings` is None for a test push."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    readings: int | None


def make_record(body: bytes, token: bytes, settings: IngestSettings) -> Record:
    """The record of a request's body, with what it is to carry of the token.

    Raises `IngestError` when the body is not a message or has too many readings. One of so many parts that decoding it
    would hold everybody up is not decoded.
    """
    if body.count(b"{") + body.count(b"[") > max(_FEW_PARTS, _PARTS_OF_A_READING * settings.max_readings):
        raise IngestError("bad_message", "The message has more objects and lists in it than readings need.")
    try:
        message, value = parse_message(body)
    except MessageError as error:
        raise IngestError(error.code, error.detail) from None
    headers: Headers = [("token-id", token)]
    key = message.deviceId.encode()
    if isinstance(message, TestPush):
        return Record(settings.test_topic, key, value, headers, None)
    readings = len(message.payload)
    if readings > settings.max_readings:
        raise IngestError("too_many_readings")
    return Record(settings.topic, key, value, headers, readings)
