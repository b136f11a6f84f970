"""Records to entries: what of a partition's records can be stored, and what goes to quarantine. Never raises.

A record that is not a message is quarantined whole. A reading whose time cannot be true is quarantined alone: its
message and its neighbours are stored. Everything else is data, however late.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from services.common.message import Message, MessageError, Reading, encode_json, message_number, read_record

EARLIEST_NS: Final = 946_684_800 * 10**9
"""2000-01-01: no phone sent readings before; such a time is a clock that was never set."""
AHEAD_NS: Final = 24 * 3600 * 10**9
"""How far a phone's clock may be ahead of the broker's."""
HOUR_NS: Final = 3600 * 10**9
_HOUR_LIMIT: Final = 1 << 40  # hours of absurd times are cut here: any value will do that is always the same


class Rules(NamedTuple):
    """What the settings say of readings: older ones than `keep_days` before their arrival go to quarantine.

    A message whose last reading is more than `late_after_s` older than its broker time counts as late.
    """

    keep_days: int = 1826
    late_after_s: float = 60


DEFAULT_RULES: Final = Rules()


class Record(NamedTuple):
    """A Kafka record. `broker_us` is its broker time in µs since the Unix epoch, `traceparent` its trace context."""

    topic: str
    partition: int
    offset: int
    broker_us: int
    key: bytes | None
    value: bytes | None
    traceparent: bytes | None = None


class BadRecord(NamedTuple):
    """A record to quarantine whole; whose it is, if it could be read."""

    record: Record
    reason: str
    detail: str
    device: str | None = None
    session: str | None = None


class BadReading(NamedTuple):
    """A reading to quarantine alone. `position` is its index in the payload."""

    position: int
    reason: str
    detail: str
    content: bytes


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message that can be stored: who sent it, its identity, and its good readings with their positions.

    `span_us` is the earliest and latest time of its good readings in µs since the epoch; None without any.
    """

    record: Record
    device: str
    session: str
    number: int
    hour: int
    readings: list[tuple[int, Reading]]
    bad_readings: list[BadReading]
    span_us: tuple[int, int] | None
    late_after_us: int = 60_000_000

    @property
    def identity(self) -> tuple[str, str, int, int]:
        return self.device, self.session, self.hour, self.number

    @property
    def is_late(self) -> bool:
        """Whether it came long after its last reading."""
        return self.span_us is not None and self.record.broker_us - self.span_us[1] > self.late_after_us

    @property
    def payload_length(self) -> int:
        return len(self.readings) + len(self.bad_readings)


def decode(records: Iterable[Record], rules: Rules = DEFAULT_RULES) -> tuple[list[Entry], list[BadRecord]]:
    """Every record as an entry or as a bad record, each in the order of the offsets."""
    entries: list[Entry] = []
    bad_records: list[BadRecord] = []
    for record in records:
        try:
            entries.append(_entry(record, read_record(record.value), rules))
        except MessageError as error:
            bad_records.append(BadRecord(record, error.code, error.detail))
    return entries, bad_records


def first_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """The entries without repetitions within themselves: the first one of each identity stays."""
    seen: dict[tuple[str, str, int, int], Entry] = {}
    for entry in entries:
        seen.setdefault(entry.identity, entry)
    return list(seen.values())


def _entry(record: Record, message: Message, rules: Rules) -> Entry:
    readings, bad_readings = sort_out(message.payload, record.broker_us * 1000, rules)
    return Entry(
        record=record,
        device=message.deviceId,
        session=message.sessionId,
        number=message_number(message),
        hour=_hour(message),
        readings=readings,
        bad_readings=bad_readings,
        span_us=_span_us([reading.time for _, reading in readings]),
        late_after_us=int(rules.late_after_s * 1e6),
    )


def _hour(message: Message) -> int:
    """Hours since the epoch of the first reading's time as sent: the same for every copy of the message."""
    hour = message.payload[0].time // HOUR_NS if message.payload else 0
    return max(-_HOUR_LIMIT, min(hour, _HOUR_LIMIT))


def _span_us(times_ns: list[int]) -> tuple[int, int] | None:
    return (min(times_ns) // 1000, max(times_ns) // 1000) if times_ns else None


def sort_out(
    payload: list[Reading], broker_ns: int, rules: Rules
) -> tuple[list[tuple[int, Reading]], list[BadReading]]:
    """The readings that can be stored, each with its position, and those whose time cannot be true.

    `broker_ns` is when they arrived, in ns since the Unix epoch.
    """
    earliest_ns = max(EARLIEST_NS, broker_ns - rules.keep_days * 24 * HOUR_NS)
    latest_ns = broker_ns + AHEAD_NS
    readings = list(enumerate(payload))
    times = [reading.time for reading in payload]
    if not times or (earliest_ns <= min(times) and max(times) <= latest_ns):
        return readings, []
    good = [(position, reading) for position, reading in readings if earliest_ns <= reading.time <= latest_ns]
    return good, [
        BadReading(position, *_reason(reading.time, latest_ns), encode_json(reading))
        for position, reading in readings
        if not earliest_ns <= reading.time <= latest_ns
    ]


def _reason(time_ns: int, latest_ns: int) -> tuple[str, str]:
    if time_ns > latest_ns:
        return "time_in_future", "The reading's time is more than one day after its arrival."
    if time_ns < EARLIEST_NS:
        return "time_too_early", "The reading's time is before the year 2000."
    return "time_before_kept", "The reading is older than anything that is kept (STREAM_KEEP_60S_DAYS)."
