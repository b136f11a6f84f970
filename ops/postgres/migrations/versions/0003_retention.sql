-- Angles and counters, retention by partitions, deletion with tombstones, and what the check counts against.

-- ---- Angles and counters -------------------------------------------------------------------------------------------
ALTER TABLE series ADD COLUMN turn double precision, ADD COLUMN is_counter boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN series.turn IS 'of an angle: a full turn in its unit (360 or 2 pi); NULL for everything else';
COMMENT ON COLUMN series.is_counter IS 'true for what only grows, like steps: windows are read by their maximum';
UPDATE series SET turn = 360 WHERE channel IN ('bearing', 'magneticBearing', 'course', 'longitude');
UPDATE series SET turn = 2 * pi() WHERE channel IN ('yaw', 'roll');
UPDATE series SET is_counter = true WHERE channel = 'steps';

ALTER TABLE window_1s ADD COLUMN resultant point;
ALTER TABLE window_10s ADD COLUMN resultant point;
ALTER TABLE window_60s ADD COLUMN resultant point;
COMMENT ON COLUMN window_1s.mean IS 'arithmetic mean; of an angle the circular mean';
COMMENT ON COLUMN window_1s.m2 IS 'sum of the squared deviations from the mean; of an angle 2 (count - |resultant|) (turn / 2 pi)^2, which is near it';
COMMENT ON COLUMN window_1s.resultant IS 'angles only: sum of the values'' unit vectors (cosine, sine); windows merge by adding it';

CREATE FUNCTION direction(resultant point, turn double precision, lowest double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lowest >= 0 AND resultant[1] < 0
        THEN CASE WHEN resultant[0] > 0 AND resultant[1] > -1e-12 * resultant[0] THEN 0
             ELSE atan2(resultant[1], resultant[0]) * turn / (2 * pi()) + turn END
        ELSE atan2(resultant[1], resultant[0]) * turn / (2 * pi()) END
$$;
COMMENT ON FUNCTION direction IS 'The angle of a vector in [0, turn), or in (-turn/2, turn/2] where the lowest angle is negative.';

CREATE FUNCTION window_value(is_counter boolean, turn double precision, weighted double precision, count numeric,
                             cosines double precision, sines double precision, min double precision, max double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN is_counter THEN max WHEN min = max THEN min
        WHEN cosines IS NULL THEN weighted / count::float8
        ELSE direction(point(cosines, sines), turn, min) END
$$;
COMMENT ON FUNCTION window_value IS 'What to show of several windows of one series: window_value(is_counter, turn, sum(mean * count), sum(count), '
    'sum(resultant[0]), sum(resultant[1]), min(min), max(max)), the first two from series.';

-- ---- What the check counts against ---------------------------------------------------------------------------------
ALTER TABLE session
    ADD COLUMN numeric_values bigint NOT NULL DEFAULT 0,
    ADD COLUMN text_values    bigint NOT NULL DEFAULT 0,
    ADD COLUMN not_known      bigint NOT NULL DEFAULT 0,
    ADD COLUMN late           bigint NOT NULL DEFAULT 0,
    ADD COLUMN deleted_at     timestamptz;
COMMENT ON COLUMN session.not_known IS 'values that said "not known" and were left out';
COMMENT ON COLUMN session.late IS 'stored messages that came later after their last reading than the setting STREAM_LATE_AFTER_S allows';
COMMENT ON COLUMN session.deleted_at IS 'when its data was deleted: messages from before are never stored again. Visible sessions have messages > 0';
ALTER TABLE device ADD COLUMN deleted_at timestamptz;

ALTER TABLE message_ledger
    ADD COLUMN messages       bigint NOT NULL DEFAULT 0,
    ADD COLUMN numeric_values bigint NOT NULL DEFAULT 0,
    ADD COLUMN text_values    bigint NOT NULL DEFAULT 0,
    ADD COLUMN changed_at     timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN counted_at     timestamptz;
COMMENT ON COLUMN message_ledger.hour IS 'hours since the Unix epoch; of a message that of its first reading, of a value that of its reading';
COMMENT ON COLUMN message_ledger.numbers IS 'messages that have been stored. Holes are missing messages';
COMMENT ON COLUMN message_ledger.numeric_values IS 'numbers added to the windows of this hour, once per resolution';
COMMENT ON COLUMN message_ledger.counted_at IS 'when the check last counted the stored rows of this hour and found what it should; NULL after a change';
CREATE INDEX message_ledger_uncounted ON message_ledger (session_id, hour) WHERE counted_at IS NULL;

CREATE TABLE message_hour (
    topic      text        NOT NULL,
    partition  integer     NOT NULL,
    hour       bigint      NOT NULL,
    messages   bigint      NOT NULL,
    readings   bigint      NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    counted_at timestamptz,
    PRIMARY KEY (topic, partition, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE message_hour IS 'How many messages of each hour of broker time lie in "message": what the check counts against.';

ALTER TABLE batch
    ADD COLUMN deleted          bigint NOT NULL DEFAULT 0,
    ADD COLUMN readings_deleted bigint NOT NULL DEFAULT 0,
    ADD COLUMN late             bigint NOT NULL DEFAULT 0,
    ADD COLUMN not_known        bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT batch_check, DROP CONSTRAINT batch_check1,
    ADD CONSTRAINT records_add_up CHECK (records = messages + duplicates + quarantined + deleted),
    ADD CONSTRAINT readings_add_up CHECK (readings = readings_stored + readings_duplicate + readings_quarantined + readings_deleted);
CREATE INDEX batch_committed_at ON batch (committed_at);
COMMENT ON COLUMN batch.deleted IS 'records of sessions or devices that had been deleted after the records came';
ALTER TABLE partition_progress
    ADD COLUMN deleted          bigint NOT NULL DEFAULT 0,
    ADD COLUMN readings_deleted bigint NOT NULL DEFAULT 0,
    ADD COLUMN late             bigint NOT NULL DEFAULT 0,
    ADD COLUMN not_known        bigint NOT NULL DEFAULT 0;

ALTER TABLE quarantine ADD COLUMN retried_at timestamptz;
COMMENT ON COLUMN quarantine.retried_at IS 'when it was stored after all; such a row is history and counts no longer';
CREATE INDEX quarantine_waiting ON quarantine (reason, position) WHERE retried_at IS NULL;
CREATE INDEX quarantine_session ON quarantine (device, session) WHERE device IS NOT NULL;
CREATE INDEX quarantine_age ON quarantine (quarantined_at);

CREATE TABLE removed (
    account              text PRIMARY KEY,
    messages             bigint NOT NULL DEFAULT 0,
    ledger_messages      bigint NOT NULL DEFAULT 0,
    readings             bigint NOT NULL DEFAULT 0,
    late                 bigint NOT NULL DEFAULT 0,
    not_known            bigint NOT NULL DEFAULT 0,
    records_quarantined  bigint NOT NULL DEFAULT 0,
    readings_quarantined bigint NOT NULL DEFAULT 0
);
INSERT INTO removed (account) VALUES ('deleted'), ('expired');
COMMENT ON TABLE removed IS 'Sums of what was stored once and is gone: deleted by people, or expired by age.';
COMMENT ON COLUMN removed.ledger_messages IS 'messages that the ledger has forgotten too';

-- ---- Retention -----------------------------------------------------------------------------------------------------
CREATE TABLE retention (
    kept      text PRIMARY KEY,
    unit      text CHECK (unit IN ('day', 'month', 'year')),
    days      integer     NOT NULL CHECK (days > 0),
    kept_from timestamptz,
    CHECK ((unit IS NULL) = (kept_from IS NULL))
);
INSERT INTO retention (kept, unit, days, kept_from)
SELECT kept, unit, days, CASE WHEN unit IS NOT NULL THEN date_trunc(unit, now() - make_interval(days => days), 'UTC') END
FROM (VALUES ('message', 'day', 7), ('window_1s', 'day', 14), ('window_10s', 'month', 180), ('window_60s', 'year', 1826),
             ('text_reading', 'month', 180), ('batch', NULL, 3), ('quarantine', NULL, 90), ('ledger', NULL, 30))
     AS defaults (kept, unit, days);
COMMENT ON TABLE retention IS 'How long things are kept. The stream writes "days" from its settings.';
COMMENT ON COLUMN retention.unit IS 'what one partition holds; NULL for tables without partitions';
COMMENT ON COLUMN retention.kept_from IS 'what is older has been dropped and is not stored any more. Never goes back';

CREATE FUNCTION make_partition(parent text, unit text, lower_bound timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    name text := parent || to_char(lower_bound, CASE unit WHEN 'day' THEN '_YYYYMMDD' WHEN 'month' THEN '_YYYYMM' ELSE '_YYYY' END);
    upper_bound timestamptz := lower_bound + ('1 ' || unit)::interval;
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Attached, not made in place: that would stop everybody who reads or writes the table.
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)%s', name, parent,
                   CASE WHEN parent LIKE 'window%' THEN ' WITH (fillfactor = 70)' ELSE '' END);
    IF parent = 'text_reading' THEN
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, name,
                       extract(epoch FROM lower_bound)::bigint * 1000000000, extract(epoch FROM upper_bound)::bigint * 1000000000);
    ELSE
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, lower_bound, upper_bound);
    END IF;
    RETURN true;
END $$;

DROP FUNCTION make_partitions(date, date);
CREATE FUNCTION make_partitions(days_ahead integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
    SELECT pg_advisory_xact_lock(5346019);
    SELECT count(*) FILTER (WHERE make_partition(kept, unit, lower_bound))
    FROM retention, generate_series(kept_from, now() + make_interval(days => days_ahead), ('1 ' || unit)::interval) AS lower_bound
    WHERE unit IS NOT NULL
$$;
COMMENT ON FUNCTION make_partitions IS 'Makes the missing partitions from the oldest time that is kept until days_ahead from now; returns how many.';

CREATE FUNCTION drop_partition(parent text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '300ms' AS $$
DECLARE
    rule retention;
    upper_bound timestamptz;
    name text;
BEGIN
    SELECT * INTO STRICT rule FROM retention WHERE kept = parent AND unit IS NOT NULL;
    upper_bound := rule.kept_from + ('1 ' || rule.unit)::interval;
    IF upper_bound > now() - make_interval(days => rule.days) THEN
        RETURN NULL;
    END IF;
    -- Whoever stores holds this lock shared and has read kept_from under it: nobody writes what is dropped here.
    PERFORM pg_advisory_xact_lock(5346018);
    UPDATE retention SET kept_from = upper_bound WHERE kept = parent;
    name := parent || to_char(rule.kept_from, CASE rule.unit WHEN 'day' THEN '_YYYYMMDD' WHEN 'month' THEN '_YYYYMM' ELSE '_YYYY' END);
    EXECUTE format('DROP TABLE IF EXISTS %I', name);
    RETURN name;
END $$;
COMMENT ON FUNCTION drop_partition IS 'Drops the oldest partition of a table if all of it is too old; returns its name, else NULL. '
    'Waits 300 ms at most for readers and writers, then fails: try again later.';

CREATE TABLE purge (
    session_id bigint      PRIMARY KEY,
    series_ids bigint[]    NOT NULL,
    queued_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE purge IS 'Deleted sessions whose rows nobody can reach any more and that wait to be removed.';

CREATE FUNCTION purge_step() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    one purge;
    last bigint;
    until timestamptz;
BEGIN
    SELECT * INTO one FROM purge ORDER BY queued_at, session_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF cardinality(one.series_ids) > 0 THEN
        last := one.series_ids[cardinality(one.series_ids)];
        DELETE FROM window_1s WHERE series_id = last;
        DELETE FROM window_10s WHERE series_id = last;
        DELETE FROM window_60s WHERE series_id = last;
        DELETE FROM text_reading WHERE series_id = last;
        UPDATE purge SET series_ids = trim_array(series_ids, 1) WHERE session_id = one.session_id;
        RETURN true;
    END IF;
    SELECT min(first_time) + interval '1 hour' INTO until FROM message WHERE session_id = one.session_id;
    WITH gone AS (
        DELETE FROM message WHERE session_id = one.session_id AND first_time < until
        RETURNING topic, partition, floor(extract(epoch FROM broker_time) / 3600)::bigint AS hour, readings
    ), sums AS (
        SELECT topic, partition, hour, count(*) AS messages, sum(readings) AS readings FROM gone GROUP BY 1, 2, 3
    ), locked AS (
        SELECT topic, partition, hour, sums.messages, sums.readings
        FROM message_hour JOIN sums USING (topic, partition, hour) ORDER BY topic, partition, hour FOR UPDATE OF message_hour
    )
    UPDATE message_hour AS there
    SET messages = there.messages - locked.messages, readings = there.readings - locked.readings, changed_at = now(), counted_at = NULL
    FROM locked WHERE (there.topic, there.partition, there.hour) = (locked.topic, locked.partition, locked.hour);
    IF until IS NULL THEN
        DELETE FROM purge WHERE session_id = one.session_id;
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION purge_step IS 'Removes some rows of what was deleted: one series, or an hour of messages. False when nothing is left.';

CREATE FUNCTION expire(max_rows integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '300ms' AS $$
DECLARE
    ages jsonb := (SELECT jsonb_object_agg(kept, days) FROM retention);
    data_from timestamptz := (SELECT min(kept_from) FROM retention WHERE unit IS NOT NULL);
    one record;
    total bigint := 0;
    gone bigint;
BEGIN
    DELETE FROM batch WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM batch WHERE committed_at < now() - make_interval(days => (ages->>'batch')::integer) LIMIT max_rows));
    GET DIAGNOSTICS total = ROW_COUNT;
    WITH old AS (
        DELETE FROM quarantine WHERE quarantine_id = ANY (ARRAY(
            SELECT quarantine_id FROM quarantine
            WHERE quarantined_at < now() - make_interval(days => (ages->>'quarantine')::integer)
            ORDER BY quarantined_at LIMIT max_rows))
        RETURNING position, retried_at
    ), sums AS (
        SELECT count(*) FILTER (WHERE position = -1 AND retried_at IS NULL) AS records,
               count(*) FILTER (WHERE position >= 0 AND retried_at IS NULL) AS readings, count(*) AS rows
        FROM old
    ), accounted AS (
        UPDATE removed SET records_quarantined = records_quarantined + sums.records,
                           readings_quarantined = removed.readings_quarantined + sums.readings
        FROM sums WHERE account = 'expired' AND sums.rows > 0
    )
    SELECT rows INTO gone FROM sums;
    total := total + gone;
    FOR one IN
        SELECT session.* FROM session JOIN device USING (device_id)
        WHERE session.last_seen < now() - make_interval(days => (ages->>'ledger')::integer)
          AND (messages = 0 OR coalesce(last_time, session.last_seen) < data_from)
        ORDER BY session_id LIMIT max_rows / 10 FOR UPDATE OF session, device SKIP LOCKED
    LOOP
        WITH forgotten AS (DELETE FROM message_ledger WHERE session_id = one.session_id RETURNING messages)
        UPDATE removed SET messages = removed.messages + one.messages, readings = readings + one.readings,
            late = late + one.late, not_known = not_known + one.not_known,
            ledger_messages = ledger_messages + coalesce((SELECT sum(forgotten.messages) FROM forgotten), 0)
        WHERE account = 'expired';
        DELETE FROM series WHERE session_id = one.session_id;
        DELETE FROM session WHERE session_id = one.session_id;
        DELETE FROM device WHERE device_id = one.device_id AND deleted_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM session WHERE session.device_id = one.device_id);
        total := total + 1;
    END LOOP;
    RETURN total;
END $$;
COMMENT ON FUNCTION expire IS 'Removes batches, quarantine and forgotten sessions that are older than they are kept, max_rows of each at most; returns how many.';

-- ---- Deletion ------------------------------------------------------------------------------------------------------
CREATE TYPE deletion AS (sessions bigint, messages bigint, readings bigint);

CREATE FUNCTION forget_session(id bigint) RETURNS deletion
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    one session;
    tombstone bigint;
BEGIN
    SELECT * INTO one FROM session WHERE session_id = id AND messages > 0;
    IF NOT FOUND THEN
        RETURN (0, 0, 0)::deletion;
    END IF;
    INSERT INTO purge (session_id, series_ids)
    SELECT id, coalesce(array_agg(series_id), '{}') FROM series WHERE session_id = id;
    WITH gone AS (
        DELETE FROM quarantine USING device
        WHERE device.device_id = one.device_id AND quarantine.device = device.device AND quarantine.session = one.session
        RETURNING position, retried_at
    )
    UPDATE removed SET
        messages = removed.messages + one.messages, readings = readings + one.readings,
        late = late + one.late, not_known = not_known + one.not_known,
        records_quarantined = records_quarantined + (SELECT count(*) FROM gone WHERE position = -1 AND retried_at IS NULL),
        readings_quarantined = readings_quarantined + (SELECT count(*) FROM gone WHERE position >= 0 AND retried_at IS NULL)
    WHERE account = 'deleted';
    DELETE FROM series WHERE session_id = id;
    DELETE FROM session WHERE session_id = id;
    INSERT INTO session (device_id, session, last_seen, deleted_at)
    VALUES (one.device_id, one.session, one.last_seen, clock_timestamp()) RETURNING session_id INTO tombstone;
    UPDATE message_ledger SET session_id = tombstone, numeric_values = 0, text_values = 0, counted_at = NULL WHERE session_id = id;
    RETURN (1, one.messages, one.readings)::deletion;
END $$;
COMMENT ON FUNCTION forget_session IS 'Hides a session, leaves its data to purge_step() and its ledger to a tombstone. The caller has locked the device.';

CREATE FUNCTION delete_session(id bigint) RETURNS deletion
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM FROM device WHERE device_id = (SELECT device_id FROM session WHERE session_id = id) FOR NO KEY UPDATE;
    RETURN forget_session(id);
END $$;
COMMENT ON FUNCTION delete_session IS 'Deletes a session: at once from every page, within minutes from the disk. What came until now never comes back.';

CREATE FUNCTION delete_device(id bigint) RETURNS deletion
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    name_of_device text;
    sums deletion := (0, 0, 0);
    one deletion;
BEGIN
    SELECT device INTO name_of_device FROM device WHERE device_id = id FOR NO KEY UPDATE;
    FOR one IN SELECT forgotten.* FROM session CROSS JOIN LATERAL forget_session(session_id) AS forgotten WHERE device_id = id LOOP
        sums := (sums.sessions + one.sessions, sums.messages + one.messages, sums.readings + one.readings);
    END LOOP;
    WITH gone AS (
        DELETE FROM quarantine WHERE device = name_of_device OR (device IS NULL AND key = convert_to(name_of_device, 'UTF8'))
        RETURNING position, retried_at
    )
    UPDATE removed SET
        records_quarantined = records_quarantined + (SELECT count(*) FROM gone WHERE position = -1 AND retried_at IS NULL),
        readings_quarantined = readings_quarantined + (SELECT count(*) FROM gone WHERE position >= 0 AND retried_at IS NULL)
    WHERE account = 'deleted';
    UPDATE device SET name = NULL, deleted_at = clock_timestamp() WHERE device_id = id;
    RETURN sums;
END $$;
COMMENT ON FUNCTION delete_device IS 'Deletes all sessions of a device, its name and its quarantine, and whatever of it waits in Kafka.';

-- ---- The ledger, as people read it ---------------------------------------------------------------------------------
CREATE FUNCTION missing_messages(id bigint) RETURNS TABLE (run integer, missing int8multirange)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE
    counted CONSTANT int8multirange := '{[0,4611686018427387904)}';
    plausible CONSTANT int8range := '[262968,4000000)';  -- hours of the years 2000 to 2426
    since_hours CONSTANT integer := 12;
    seen int8multirange := '{}';
    strays int8multirange;
    first_hour bigint;
    older int8multirange;
    one record;
BEGIN
    SELECT coalesce(range_agg(part), '{}') INTO strays FROM message_ledger, unnest(numbers * counted) AS part
    WHERE session_id = id AND NOT plausible @> hour;
    run := 1;
    FOR one IN SELECT hour, message_ledger.numbers * counted AS numbers FROM message_ledger
               WHERE session_id = id AND plausible @> hour ORDER BY hour LOOP
        CONTINUE WHEN isempty(one.numbers);
        first_hour := coalesce(first_hour, one.hour);
        IF one.numbers && seen OR (one.numbers @> 0::bigint AND one.hour >= first_hour + since_hours) THEN
            -- Counting began again: what this hour has new in the upper half of the old run still belongs to that.
            older := (one.numbers - seen) * int8multirange(int8range(upper(seen) / 2, NULL));
            seen := seen + older;
            missing := int8multirange(int8range(0, upper(seen))) - seen - strays;
            RETURN NEXT;
            run := run + 1;
            seen := one.numbers - older;
            first_hour := one.hour;
        ELSE
            seen := seen + one.numbers;
        END IF;
    END LOOP;
    IF isempty(seen) THEN
        seen := strays;
    END IF;
    missing := int8multirange(int8range(0, coalesce(upper(seen), 0))) - seen - strays;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION missing_messages IS 'The holes in the counted messageIds of a session, for each time that counting began at 0: the app does so after 24 hours. '
    'A number that is there under two hours, or a 0 half a day later, tells that it began again.';

CREATE VIEW session_ledger AS
SELECT session_id, device_id, device, device.name AS device_name, session,
       messages + holes.missing AS expected, messages AS received, holes.missing, holes.missing_ranges, duplicates, late,
       readings, readings_quarantined, not_known, first_time, last_time, session.last_seen
FROM session JOIN device USING (device_id) CROSS JOIN LATERAL (
    SELECT coalesce(sum(upper(part) - lower(part)), 0)::bigint AS missing,
           coalesce(array_agg(lower(part) || CASE WHEN upper(part) - lower(part) > 1 THEN '-' || upper(part) - 1 ELSE '' END
                              ORDER BY run, part) FILTER (WHERE part IS NOT NULL), '{}') AS missing_ranges
    FROM missing_messages(session_id) LEFT JOIN LATERAL unnest(missing_messages.missing) AS part ON true
) AS holes
WHERE messages > 0;
COMMENT ON VIEW session_ledger IS 'Of each session: messages expected, received and missing (numbers or first-last), duplicate, late; readings stored and quarantined.';

-- ---- What is there already -----------------------------------------------------------------------------------------
ALTER TABLE window_1s DETACH PARTITION window_1s_default;
ALTER TABLE window_10s DETACH PARTITION window_10s_default;
ALTER TABLE window_60s RENAME TO window_60s_before;
CREATE TABLE window_60s (LIKE window_60s_before INCLUDING ALL) PARTITION BY RANGE (start);
ALTER TABLE message RENAME TO message_before;
DO $$  -- their names are for the new partitions
DECLARE
    name text;
BEGIN
    FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'message_before'::regclass LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_before');
    END LOOP;
END $$;
CREATE TABLE message (LIKE message_before INCLUDING ALL) PARTITION BY RANGE (broker_time);
COMMENT ON TABLE message IS 'Every stored message whole, by the day of its arrival. Messages of one session are committed in the order of their offsets.';
ALTER TABLE text_reading RENAME TO text_reading_before;
CREATE TABLE text_reading (LIKE text_reading_before INCLUDING ALL) PARTITION BY RANGE (time_ns);
SELECT make_partitions(3);
INSERT INTO message SELECT * FROM message_before
WHERE broker_time >= (SELECT kept_from FROM retention WHERE kept = 'message');
INSERT INTO text_reading SELECT * FROM text_reading_before
WHERE time_ns >= (SELECT extract(epoch FROM kept_from)::bigint * 1000000000 FROM retention WHERE kept = 'text_reading');
INSERT INTO window_1s SELECT * FROM window_1s_default WHERE start >= (SELECT kept_from FROM retention WHERE kept = 'window_1s');
INSERT INTO window_10s SELECT * FROM window_10s_default WHERE start >= (SELECT kept_from FROM retention WHERE kept = 'window_10s');
INSERT INTO window_60s SELECT * FROM window_60s_before WHERE start >= (SELECT kept_from FROM retention WHERE kept = 'window_60s');
INSERT INTO message_hour (topic, partition, hour, messages, readings)
SELECT topic, partition, floor(extract(epoch FROM broker_time) / 3600)::bigint, count(*), sum(readings) FROM message GROUP BY 1, 2, 3;
UPDATE message_ledger SET messages = (SELECT sum(upper(part) - lower(part)) FROM unnest(numbers) AS part);
INSERT INTO message_ledger (session_id, hour, numeric_values)
SELECT session_id, floor(extract(epoch FROM start) / 3600)::bigint, sum(count)
FROM window_60s_before JOIN series USING (series_id) GROUP BY 1, 2
ON CONFLICT (session_id, hour) DO UPDATE SET numeric_values = EXCLUDED.numeric_values;
INSERT INTO message_ledger (session_id, hour, text_values)
SELECT session_id, time_ns / 3600000000000, count(*) FROM text_reading_before JOIN series USING (series_id) GROUP BY 1, 2
ON CONFLICT (session_id, hour) DO UPDATE SET text_values = EXCLUDED.text_values;
UPDATE session SET numeric_values = sums.numeric_values, text_values = sums.text_values
FROM (SELECT session_id, sum(numeric_values) AS numeric_values, sum(text_values) AS text_values FROM message_ledger GROUP BY 1) AS sums
WHERE session.session_id = sums.session_id;
DROP TABLE window_1s_default, window_10s_default, window_60s_before, message_before, text_reading_before;

REVOKE ALL ON FUNCTION make_partition, make_partitions, drop_partition, purge_step, expire, forget_session, delete_session, delete_device FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions, drop_partition, purge_step, expire TO stream_writer;
GRANT EXECUTE ON FUNCTION delete_session, delete_device TO dashboard;
GRANT SELECT, INSERT ON message, text_reading TO stream_writer;
GRANT SELECT, INSERT, UPDATE ON window_60s TO stream_writer;
GRANT SELECT, INSERT, UPDATE ON message_hour TO stream_writer;
GRANT UPDATE (first_time, last_time, readings, numbers, texts) ON message TO stream_writer;
GRANT UPDATE (retried_at) ON quarantine TO stream_writer;
GRANT SELECT ON removed, retention, purge, session_ledger TO stream_writer;
GRANT UPDATE (days) ON retention TO stream_writer;
GRANT SELECT ON message, text_reading, window_60s, message_hour, removed, retention, session_ledger TO dashboard, grafana_reader;
