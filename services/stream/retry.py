"""Another try for what is in quarantine, after a fix: exactly once, and adding up.

A retry is a batch of its own, with no offsets and a fixed query id: what it stores, the quarantine has less. The batch
row, the quarantine's own row and the stored data are written in one transaction.
"""

import msgspec
from psycopg2.extensions import connection as Connection  # noqa: N812  # the class has a lower-case name
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from services.common.message import Reading
from services.stream import sql
from services.stream.decode import HOUR_NS, Entry, Record, Rules, decode, sort_out
from services.stream.receipts import BatchKey, Receipt, Steps
from services.stream.sessions import lock_sessions
from services.stream.store import WHOLE_RECORD, Adding, add_entries, add_values, begin, write_batch
from services.stream.tally import HOUR_US, add_to_ledger

RETRIES: str = "00000000-0000-0000-0000-000000000000"
"""Query id of the batches that are retries; their batch id is the quarantine_id."""


class StillBadError(Exception):
    """It cannot be stored this time either. The text is the reason."""


class NotThereError(Exception):
    """There is no such row in quarantine, or it has been stored since."""


def retry(connection: Connection, quarantine_id: int, rules: Rules) -> Receipt:
    """Store a record or reading that is in quarantine; commits. Its receipt has a negative count of quarantined ones.

    Raises `StillBadError`, `NotThereError` and `psycopg2.Error`; nothing has changed then.
    """
    with connection, connection.cursor() as cursor:
        adding = Adding(begin(cursor), Steps())
        cursor.execute(sql.FIND_QUARANTINED, (quarantine_id,))
        row = cursor.fetchone()
        if row is None:
            raise NotThereError(f"{quarantine_id} is not in quarantine")
        topic, partition, offset, broker_us, key, content, position, _, _, device, session = row
        record = Record(topic, partition, offset, broker_us, key and bytes(key), bytes(content))
        batch = BatchKey(RETRIES, quarantine_id, topic, partition, offset, offset)
        if position == WHOLE_RECORD:
            receipt = _add_record(cursor, batch, record, adding, rules)
        else:
            receipt = _add_reading(cursor, batch, _entry_of(record, position, (device, session), rules), adding)
        cursor.execute(sql.LEAVE_QUARANTINE, (quarantine_id,))
        if cursor.rowcount == 0 or not write_batch(cursor, receipt):
            raise NotThereError(f"{quarantine_id} was stored by somebody else just now")
        return receipt


def _add_record(cursor: Cursor, batch: BatchKey, record: Record, adding: Adding, rules: Rules) -> Receipt:
    entries, bad_records = decode([record], rules)
    if bad_records:
        raise StillBadError(f"{bad_records[0].reason}: {bad_records[0].detail}")
    receipt = add_entries(cursor, batch, entries, [], adding)
    return msgspec.structs.replace(receipt, records=receipt.records - 1, quarantined=-1)


def _entry_of(record: Record, position: int, owner: tuple[str, str], rules: Rules) -> Entry:
    """The one reading as an entry of its message. Raises `StillBadError`."""
    try:
        reading = msgspec.json.decode(record.value or b"", type=Reading)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StillBadError(f"bad_message: {error}") from None
    _, bad_readings = sort_out([reading], record.broker_us * 1000, rules)
    if bad_readings:
        raise StillBadError(f"{bad_readings[0].reason}: {bad_readings[0].detail}")
    return Entry(
        record=record,
        device=owner[0],
        session=owner[1],
        number=0,
        hour=reading.time // HOUR_NS,
        readings=[(position, reading)],
        bad_readings=[],
        span_us=(reading.time // 1000, reading.time // 1000),
    )


def _add_reading(cursor: Cursor, batch: BatchKey, entry: Entry, adding: Adding) -> Receipt:
    """Add one reading to what is stored of its message, which the ledger knows already."""
    found = lock_sessions(cursor, [entry])
    if not found.entries:
        raise NotThereError("its session was deleted")
    session_id = found.ids[entry.device, entry.session]
    place = {
        "session_id": session_id,
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": batch.offset_from,
        "broker_us": entry.record.broker_us,
    }
    cursor.execute(sql.FIND_MESSAGE, place)
    message = cursor.fetchone()
    entry = msgspec.structs.replace(entry, number=message[0] if message else 0)
    values, tally = add_values(cursor, [entry], found.ids, adding)
    add_to_ledger(cursor, [], found.ids, tally)
    [(numbers, texts)], span = values.counts, entry.span_us or (0, 0)
    if message:
        times = {"first_us": span[0], "last_us": span[1], "numbers": numbers, "texts": texts}
        cursor.execute(sql.ADD_TO_MESSAGE, place | times)
        cursor.execute(sql.ADD_READING_TO_HOUR, place | {"hour": entry.record.broker_us // HOUR_US})
    row = (session_id, 0, 0, 1, -1, numbers, texts, values.not_known[0], 0, *span, entry.record.broker_us)
    cursor.execute(sql.UPDATE_SESSIONS.replace("VALUES %s", f"VALUES {sql.UPDATE_SESSIONS_ROW}"), row)
    return Receipt(
        *batch,
        records=0,
        messages=0,
        duplicates=0,
        quarantined=0,
        readings=0,
        readings_stored=1,
        readings_duplicate=0,
        readings_quarantined=-1,
        not_known=values.not_known[0],
    )
