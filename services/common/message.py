"""The message contract: what the app sends, and what every later part may rely on.

A message is accepted here or refused with a `MessageError`; ingest and the stream use the same two functions,
so a record that ingest wrote is always one that the stream can read. The shapes follow the app's documentation
of its HTTP push: https://github.com/tszheichoi/awesome-sensor-logger
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_NAME_LENGTH: Final = 128
MAX_VALUE_DEPTH: Final = 8
MAX_DEPTH: Final = 32
"""Also of fields that this version does not know: a reader must never run out of stack where the writer did not."""
COUNTED_IDS_END: Final = 1 << 62
"""Counted messageIds lie below, hashed identities at or above: the two can never be taken for each other."""

_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f-\x9f]+\Z"
Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, pattern=_NO_CONTROLS)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Scalar = int | float | str | bool | None

if TYPE_CHECKING:
    Value = Any
else:
    Value = Scalar
    for _ in range(MAX_VALUE_DEPTH):
        Value = Scalar | list[Value] | dict[str, Value]


class MessageError(Exception):
    """The bytes are not a message.

    `code` is one word of a fixed list: HTTP error, metric label and quarantine reason alike.
    `detail` is one sentence that says what is wrong and where; it never quotes a value.
    """

    Code = Literal["bad_json", "bad_message"]

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code: Final = code
        self.detail: Final = detail


class Reading(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One sample of one sensor. `time` is in ns since the Unix epoch and may be absurd: phones' clocks are."""

    name: Name
    time: int
    values: dict[Name, Value]
    accuracy: Scalar | UnsetType = UNSET


class Message(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One POST of the app: a batch of readings of one session of one device."""

    deviceId: Identifier
    sessionId: Identifier
    payload: list[Reading]
    messageId: int | Identifier | None = None
    userId: Scalar = None


class TestPush(msgspec.Struct):
    """What the app's "Tap to Test Pushing" sends: to be answered after a real check, never stored as data."""

    __test__ = False  # the name is the app's word, not a test case

    deviceId: Identifier


class _TolerantReading(Reading, forbid_unknown_fields=False):
    """A reading with fields this version does not know."""


class _TolerantMessage(Message, forbid_unknown_fields=False):
    """A message with fields this version does not know: they are kept in the record and ignored elsewhere."""

    payload: list[_TolerantReading]  # type: ignore[assignment]  # narrower on purpose: same fields


_strict = msgspec.json.Decoder(Message)
_untyped = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def parse_message(body: bytes) -> tuple[Message | TestPush, bytes]:
    """Read a request body: the message, and its record value (the same meaning, encoded once).

    Duplicate keys are settled here (the last one wins), so that no later parser can see another value.
    Raises `MessageError` for anything that is not a message.
    """
    if b"\\u0000" in body:
        _refuse_nul(body)
    try:
        message = _strict.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parse_unusual(body)
    if message.payload and message.payload[0].name == "test":
        return TestPush(deviceId=message.deviceId), _encoder.encode(message)
    return message, _encoder.encode(message)


def read_record(value: bytes | None) -> Message:
    """Read a Kafka record's value with the same contract. Raises `MessageError`, whatever the bytes are."""
    body = value or b""
    if b"\\u0000" not in body:
        try:
            message = _strict.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return _refuse_test_push(message)
    return _refuse_test_push(parse_message(body)[0])


def _refuse_test_push(message: Message | TestPush) -> Message:
    if isinstance(message, TestPush) or (message.payload and message.payload[0].name == "test"):
        raise MessageError("bad_message", "A test push does not belong on this topic.")
    return message


def message_number(message: Message) -> int:
    """The message's identity within its session and hour, as a signed 64-bit integer.

    A counted messageId is itself. A text, a negative or huge one is hashed; a missing one is the hash of the
    payload, so that the same content sent twice is one message. Hashes are BLAKE2b cut to 62 bits, with bit 62 set.
    """
    identity = message.messageId
    if isinstance(identity, int) and 0 <= identity < COUNTED_IDS_END:
        return identity
    content = _encoder.encode(message.payload if identity is None else identity)
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return COUNTED_IDS_END | (int.from_bytes(digest) & (COUNTED_IDS_END - 1))


def encode_json(value: object) -> bytes:
    """JSON of a part of a message, as the record would hold it."""
    return _encoder.encode(value)


def _parse_unusual(body: bytes) -> tuple[Message | TestPush, bytes]:
    """The slow way: other name for the payload, unknown fields, a bare test push, or an error to explain."""
    document = _decode_json(body)
    if not isinstance(document, dict):
        raise MessageError("bad_message", "The body must be one JSON object.")
    _refuse_depth(document)
    if "payload" not in document and "sensors" in document:
        document["payload"] = document.pop("sensors")
    try:
        if _is_test_push(document):
            return msgspec.convert(document, TestPush), _encoder.encode(document)
        return msgspec.convert(document, _TolerantMessage), _encoder.encode(document)
    except msgspec.ValidationError as error:
        detail = str(error).replace(f"matching regex {_NO_CONTROLS!r}", "without control characters")
        raise MessageError("bad_message", f"{detail}.") from None


def _decode_json(body: bytes) -> Any:
    try:
        return _untyped.decode(body)
    except RecursionError:
        raise MessageError("bad_json", "The body is nested too deep.") from None
    except UnicodeDecodeError:
        raise MessageError("bad_json", "The body is not valid UTF-8.") from None
    except msgspec.MsgspecError as error:
        raise MessageError("bad_json", f"The body is not JSON: {error}.") from None


def _refuse_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise MessageError("bad_message", "The body is nested too deep.")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_test_push(document: Mapping[str, Any]) -> bool:
    match document.get("payload"):
        case [{"name": "test"}, *_]:
            return True
    return False


def _refuse_nul(body: bytes) -> None:
    """PostgreSQL text cannot hold U+0000; the escape may also stand, harmless, behind a backslash."""
    if b"\\u0000" in _encoder.encode(_decode_json(body)).replace(b"\\\\", b""):
        raise MessageError("bad_message", "The body holds a NUL character.")
