"""Replay: a recorded file of messages, sent again as new sessions that begin now."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from services.common.message import Message, MessageError, TestPush, parse_message
from services.simulator.faults import shifted
from services.simulator.phone import Due
from services.simulator.sensors import SECOND_NS

_EARLIEST_NS = 946_684_800 * SECOND_NS  # 2000-01-01
_SPREAD_NS = 3600 * SECOND_NS


class ReplayError(Exception):
    """The file is not a recording. The text is one line that says where."""


class Recorded(NamedTuple):
    """A message of the file and when it was sent, in ns since the Unix epoch."""

    sent: int
    message: Message


class _Line(msgspec.Struct):
    message: msgspec.Raw
    sent_at: float


def read_recording(file: Path) -> list[Recorded]:
    """The messages of `file` in its order: one JSON per line, bare or as `--record` writes them, or one JSON array.

    A bare message counts as sent at its latest reading. Raises `ReplayError`.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReplayError(f"--replay {file} cannot be read: {error.strerror}") from None
    recorded = [_read(file, number, text) for number, text in _split(content) if text.strip()]
    if not recorded:
        raise ReplayError(f"--replay {file} holds no message")
    return recorded


def begin_at(recorded: Sequence[Recorded], start: int) -> list[Recorded]:
    """The recording with all times shifted so that its first reading is at `start`, in sessions of their own.

    The new sessions are named after the old ones and `start`, so that a second replay is not taken for the first.
    """
    offset = start - _first_reading(recorded)
    return [Recorded(sent + offset, _again(message, offset)) for sent, message in recorded]


def schedule(recorded: Iterable[Recorded], origin: int, start: int, speed: float) -> Iterator[Due]:
    """When each message is due: what was sent at `origin` now goes at `start`, and all `speed` times as fast."""
    for sent, message in recorded:
        yield Due(start + round((sent - origin) / speed), message)


def by_device(recorded: Sequence[Recorded]) -> list[list[Recorded]]:
    """One list per device, each in the order of the file."""
    devices: dict[str, list[Recorded]] = {}
    for line in recorded:
        devices.setdefault(line.message.deviceId, []).append(line)
    return list(devices.values())


def _split(content: bytes) -> Iterator[tuple[int, bytes]]:
    if not content.lstrip().startswith(b"["):
        yield from enumerate(content.splitlines(), 1)
        return
    try:
        parts = msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise ReplayError(f"the file to replay is not a JSON array: {error}") from None
    yield from enumerate((bytes(part) for part in parts), 1)


def _read(file: Path, number: int, text: bytes) -> Recorded:
    body, sent_at = _unwrap(text)
    try:
        message, _ = parse_message(body)
    except MessageError as error:
        raise ReplayError(f"--replay {file}: message {number}: {error.detail}") from None
    if isinstance(message, TestPush):
        raise ReplayError(f"--replay {file}: message {number} is a test push, which holds no data")
    return Recorded(max(_times(message)) if sent_at is None else round(sent_at * SECOND_NS), message)


def _unwrap(text: bytes) -> tuple[bytes, float | None]:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return text, None
    return bytes(line.message), line.sent_at


def first_begun(recorded: Iterable[Recorded]) -> int:
    """When the message that was sent first began, in ns: that long before its sending as its readings last."""
    return min(sent - (max(times) - min(times)) for sent, message in recorded for times in [_times(message)])


def _first_reading(recorded: Sequence[Recorded]) -> int:
    """The time of the earliest reading, leaving out those of clocks that were never set."""
    firsts = [min(_times(message)) for _, message in recorded]
    return min([first for first in firsts if first >= _EARLIEST_NS] or firsts)


def _times(message: Message) -> list[int]:
    """The times of its readings without those that are far from the others."""
    times = sorted(reading.time for reading in message.payload) or [0]
    middle = times[len(times) // 2]
    return [time for time in times if abs(time - middle) < _SPREAD_NS]


def _again(message: Message, offset: int) -> Message:
    session = uuid.uuid5(uuid.NAMESPACE_OID, f"{message.sessionId} {offset}")
    return replace(shifted(message, offset), sessionId=str(session))
