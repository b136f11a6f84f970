"""The statements of a store transaction, in the order in which they run."""

from typing import Final

MAKE_PARTIAL_WINDOW: Final = """
CREATE TEMPORARY TABLE partial_window (
    resolution smallint, series_id bigint, start timestamptz, count bigint,
    mean double precision, m2 double precision, min double precision, max double precision,
    cosines double precision, sines double precision
) ON COMMIT DELETE ROWS
"""

STORING: Final = 5_346_018
"""Key of the advisory lock that a transaction which stores holds shared, and one that drops partitions alone."""

BEGIN: Final = f"""
SELECT pg_advisory_xact_lock_shared({STORING});
SELECT kept, (extract(epoch FROM kept_from) * 1000000)::bigint FROM retention WHERE unit IS NOT NULL
"""

FIND_BATCH: Final = """
SELECT records, messages, duplicates, quarantined, readings, readings_stored, readings_duplicate, readings_quarantined,
       deleted, readings_deleted, late, not_known
FROM batch
WHERE query_id = %s AND batch_id = %s AND topic = %s AND partition = %s AND offset_from = %s AND offset_until = %s
"""

LOCK_DEVICES: Final = """
SELECT device, (extract(epoch FROM deleted_at) * 1000000)::bigint
FROM device WHERE device = ANY (%(devices)s) ORDER BY device FOR NO KEY UPDATE
"""

FIND_DELETED: Final = """
SELECT device, (extract(epoch FROM deleted_at) * 1000000)::bigint
FROM device WHERE device = ANY (%(devices)s) AND deleted_at IS NOT NULL
"""

_BROKER_TIME: Final = "'epoch'::timestamptz + broker_us * interval '1 microsecond'"

MAKE_DEVICES: Final = f"""
INSERT INTO device (device, first_seen, last_seen)
SELECT device, min({_BROKER_TIME}), max({_BROKER_TIME})
FROM unnest(%(devices)s, %(broker_us)s::bigint[]) AS seen (device, broker_us)
GROUP BY device ORDER BY device
ON CONFLICT (device) DO NOTHING
"""

FIND_SESSIONS: Final = """
SELECT device, session, session_id, (extract(epoch FROM session.deleted_at) * 1000000)::bigint
FROM unnest(%(devices)s, %(sessions)s) AS wanted (device, session)
JOIN device USING (device) JOIN session USING (device_id, session)
"""

MAKE_SESSIONS: Final = f"""
INSERT INTO session (device_id, session, last_seen)
SELECT device_id, session, {_BROKER_TIME}
FROM unnest(%(devices)s, %(sessions)s, %(broker_us)s::bigint[]) AS seen (device, session, broker_us)
JOIN device USING (device)
ORDER BY device, session
ON CONFLICT (device_id, session) DO NOTHING
"""

_WANTED: Final = "unnest(%(session_ids)s::bigint[], %(hours)s::bigint[], %(numbers)s::bigint[])"

FIND_STORED: Final = f"""
SELECT wanted.position
FROM {_WANTED} WITH ORDINALITY AS wanted (session_id, hour, number, position)
JOIN message_ledger USING (session_id, hour)
WHERE message_ledger.numbers @> wanted.number
"""

# What is known of each hour: its messages by the ids above, its values by the columns below.
ADD_TO_LEDGER: Final = f"""
INSERT INTO message_ledger AS ledger (session_id, hour, numbers, messages, numeric_values, text_values)
SELECT session_id, hour, coalesce(range_agg(int8range(number, number, '[]')) FILTER (WHERE number IS NOT NULL), '{{}}'),
       count(number), sum(numeric_values), sum(text_values)
FROM (SELECT session_id, hour, number, 0 AS numeric_values, 0 AS text_values
      FROM {_WANTED} AS new (session_id, hour, number)
      UNION ALL
      SELECT session_id, hour, NULL, numeric_values, text_values
      FROM unnest(%(value_session_ids)s::bigint[], %(value_hours)s::bigint[], %(numeric_values)s::bigint[],
                  %(text_values)s::bigint[]) AS counted (session_id, hour, numeric_values, text_values)) AS new
GROUP BY session_id, hour
ON CONFLICT (session_id, hour) DO UPDATE SET
    numbers = ledger.numbers + EXCLUDED.numbers,
    messages = ledger.messages + EXCLUDED.messages,
    numeric_values = ledger.numeric_values + EXCLUDED.numeric_values,
    text_values = ledger.text_values + EXCLUDED.text_values,
    changed_at = now(),
    counted_at = NULL
"""

ADD_TO_HOURS: Final = """
INSERT INTO message_hour AS there (topic, partition, hour, messages, readings)
SELECT %(topic)s, %(partition)s, hour, count(*), sum(readings)
FROM unnest(%(hours)s::bigint[], %(readings)s::bigint[]) AS new (hour, readings)
GROUP BY hour ORDER BY hour
ON CONFLICT (topic, partition, hour) DO UPDATE SET
    messages = there.messages + EXCLUDED.messages,
    readings = there.readings + EXCLUDED.readings,
    changed_at = now(),
    counted_at = NULL
"""

QUARANTINE: Final = """
INSERT INTO quarantine
    (topic, partition, "offset", broker_time, position, reason, detail, device, session, key, content)
VALUES %s
ON CONFLICT (topic, partition, "offset", position, broker_time) DO NOTHING
RETURNING reason
"""

QUARANTINE_ROW: Final = """(
    %s, %s, %s, 'epoch'::timestamptz + %s * interval '1 microsecond', %s, %s, %s, %s, %s, %s::bytea, %s::bytea
)"""

FIND_SERIES: Final = """
SELECT session_id, sensor, channel, series_id
FROM unnest(%(session_ids)s::bigint[], %(sensors)s, %(channels)s) AS wanted (session_id, sensor, channel)
JOIN series USING (session_id, sensor, channel)
"""

MAKE_SERIES: Final = """
INSERT INTO series (session_id, sensor, channel, turn, is_counter)
SELECT session_id, sensor, channel, turn, is_counter
FROM unnest(%(session_ids)s::bigint[], %(sensors)s, %(channels)s, %(turns)s::float8[], %(counters)s::boolean[])
     AS wanted (session_id, sensor, channel, turn, is_counter)
WHERE NOT EXISTS (SELECT FROM series WHERE (series.session_id, series.sensor, series.channel)
                                         = (wanted.session_id, wanted.sensor, wanted.channel))
RETURNING session_id, sensor, channel, series_id
"""

# Chan's formula for two sets a (stored) and b (new): with delta = mean_b - mean_a,
#     mean = mean_a + delta * n_b / n,    M2 = M2_a + M2_b + delta^2 * n_a * n_b / n.
# PostgreSQL raises an error where a product of doubles underflows, so a delta that is nothing beside any sensor's
# resolution counts as zero. It cannot overflow: no number beyond 1e100 is aggregated.
# Angles (resultant is not NULL): mean and M2 follow from the sum of the resultants, see windows.py.
_MERGE_WINDOW: Final = """
INSERT INTO window_{resolution}s AS a (series_id, start, count, mean, m2, min, max, resultant)
SELECT series_id, start, count, mean, m2, min, max, point(cosines, sines)
FROM partial_window WHERE resolution = {resolution}
ON CONFLICT (series_id, start) DO UPDATE SET
    count = a.count + EXCLUDED.count,
    mean = CASE WHEN least(a.min, EXCLUDED.min) = greatest(a.max, EXCLUDED.max) THEN a.min
        WHEN a.resultant + EXCLUDED.resultant IS NOT NULL THEN (
            SELECT direction(a.resultant + EXCLUDED.resultant, turn, least(a.min, EXCLUDED.min))
            FROM series WHERE series.series_id = a.series_id)
        WHEN abs(EXCLUDED.mean - a.mean) < 1e-100 THEN a.mean
        ELSE a.mean + (EXCLUDED.mean - a.mean) * (EXCLUDED.count::float8 / (a.count + EXCLUDED.count)) END,
    m2 = CASE WHEN a.resultant + EXCLUDED.resultant IS NOT NULL THEN (
            SELECT greatest(0, 2 * (a.count + EXCLUDED.count - ((a.resultant + EXCLUDED.resultant) <-> point(0, 0))))
                   * (turn / (2 * pi())) ^ 2
            FROM series WHERE series.series_id = a.series_id)
        WHEN abs(EXCLUDED.mean - a.mean) < 1e-100 THEN a.m2 + EXCLUDED.m2
        ELSE a.m2 + EXCLUDED.m2
            + (EXCLUDED.mean - a.mean) ^ 2 * (a.count::float8 * EXCLUDED.count / (a.count + EXCLUDED.count)) END,
    min = least(a.min, EXCLUDED.min),
    max = greatest(a.max, EXCLUDED.max),
    resultant = a.resultant + EXCLUDED.resultant;
"""

MERGE_WINDOWS: Final = "".join(_MERGE_WINDOW.format(resolution=resolution) for resolution in (1, 10, 60))

UPDATE_SESSIONS: Final = """
UPDATE session SET
    messages = session.messages + new.messages,
    duplicates = session.duplicates + new.duplicates,
    readings = session.readings + new.readings,
    readings_quarantined = session.readings_quarantined + new.readings_quarantined,
    numeric_values = session.numeric_values + new.numeric_values,
    text_values = session.text_values + new.text_values,
    not_known = session.not_known + new.not_known,
    late = session.late + new.late,
    first_time = least(session.first_time, 'epoch'::timestamptz + new.first_us * interval '1 microsecond'),
    last_time = greatest(session.last_time, 'epoch'::timestamptz + new.last_us * interval '1 microsecond'),
    last_seen = greatest(session.last_seen, 'epoch'::timestamptz + new.broker_us * interval '1 microsecond')
FROM (VALUES %s) AS new (session_id, messages, duplicates, readings, readings_quarantined,
                         numeric_values, text_values, not_known, late, first_us, last_us, broker_us)
WHERE session.session_id = new.session_id
"""

UPDATE_SESSIONS_ROW: Final = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint, %s::bigint, %s::bigint)"

UPDATE_DEVICES: Final = """
UPDATE device SET last_seen = greatest(device.last_seen, seen.last_seen)
FROM (
    SELECT device_id, max(last_seen) AS last_seen
    FROM session WHERE session_id = ANY (%(session_ids)s) GROUP BY device_id
) AS seen
WHERE device.device_id = seen.device_id
"""

_COUNTS: Final = (
    "records", "messages", "duplicates", "quarantined", "deleted",
    "readings", "readings_stored", "readings_duplicate", "readings_quarantined", "readings_deleted",
    "late", "not_known",
)  # fmt: skip
_BATCH_COLUMNS: Final = ", ".join(("topic", "partition", *_COUNTS))
_BATCH_VALUES: Final = ", ".join(f"%({name})s" for name in ("topic", "partition", *_COUNTS))

INSERT_BATCH: Final = f"""
INSERT INTO batch (query_id, batch_id, offset_from, offset_until, trace_id, {_BATCH_COLUMNS})
VALUES (%(query_id)s, %(batch_id)s, %(offset_from)s, %(offset_until)s, %(trace_id)s, {_BATCH_VALUES})
ON CONFLICT DO NOTHING
"""

ADD_PROGRESS: Final = f"""
INSERT INTO partition_progress AS sums (offsets, {_BATCH_COLUMNS})
VALUES (int8multirange(int8range(%(offset_from)s, %(offset_until)s)), {_BATCH_VALUES})
ON CONFLICT (topic, partition) DO UPDATE SET
    offsets = sums.offsets + EXCLUDED.offsets,
    {", ".join(f"{name} = sums.{name} + EXCLUDED.{name}" for name in _COUNTS)}
"""

MAKE_PARTITIONS: Final = "SELECT make_partitions(%s)"
DAYS_AHEAD: Final = 3
"""How many days partitions are made ahead: readings may be dated a day ahead of their arrival."""

KEEP: Final = "UPDATE retention SET days = %(days)s WHERE kept = %(kept)s AND days <> %(days)s"
DROP_PARTITION: Final = "SELECT drop_partition(%s)"
PARTITIONED: Final = "SELECT kept FROM retention WHERE unit IS NOT NULL ORDER BY kept"
EXPIRE: Final = "SELECT expire(%s)"
PURGE_STEP: Final = "SELECT purge_step()"

# Of each table that is kept by age: its bytes with indexes and long values.
TABLE_BYTES: Final = """
SELECT kept, (pg_total_relation_size(name::regclass)
              + (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits
                 WHERE inhparent = name::regclass))::bigint
FROM (SELECT kept, CASE kept WHEN 'ledger' THEN 'message_ledger' ELSE kept END AS name FROM retention) AS tables
"""

# How far ahead of now partitions reach: the newest upper bound, from the partition's name.
HOW_FAR_AHEAD: Final = """
SELECT kept, extract(epoch FROM max(to_timestamp(substring(inhrelid::regclass::text FROM '_([0-9]+)$'), form)
                                + ('1 ' || unit)::interval) - now())::float8 / 86400
FROM (VALUES ('day', 'YYYYMMDD'), ('month', 'YYYYMM'), ('year', 'YYYY')) AS forms (unit, form)
     JOIN retention USING (unit) JOIN pg_inherits ON inhparent = kept::regclass
GROUP BY kept
"""

FIND_QUARANTINED: Final = """
SELECT topic, partition, "offset", (extract(epoch FROM broker_time) * 1000000)::bigint, key, content,
       position, reason, detail, device, session
FROM quarantine WHERE quarantine_id = %s AND retried_at IS NULL
"""

LEAVE_QUARANTINE: Final = "UPDATE quarantine SET retried_at = now() WHERE quarantine_id = %s AND retried_at IS NULL"

# With the broker's time: a topic that was made anew counts its offsets from 0 again.
_THIS_MESSAGE: Final = """WHERE session_id = %(session_id)s AND topic = %(topic)s AND partition = %(partition)s
    AND "offset" = %(offset)s AND broker_time = 'epoch'::timestamptz + %(broker_us)s * interval '1 microsecond'"""

FIND_MESSAGE: Final = f"""
SELECT number FROM message
{_THIS_MESSAGE}
"""

ADD_TO_MESSAGE: Final = f"""
UPDATE message SET
    first_time = least(first_time, 'epoch'::timestamptz + %(first_us)s * interval '1 microsecond'),
    last_time = greatest(last_time, 'epoch'::timestamptz + %(last_us)s * interval '1 microsecond'),
    readings = readings + 1, numbers = numbers + %(numbers)s, texts = texts + %(texts)s
{_THIS_MESSAGE}
"""

ADD_READING_TO_HOUR: Final = """
UPDATE message_hour SET readings = readings + 1, changed_at = now(), counted_at = NULL
WHERE topic = %(topic)s AND partition = %(partition)s AND hour = %(hour)s
"""
