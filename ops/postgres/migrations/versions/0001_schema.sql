-- Times of readings come from phones, broker times from Kafka; both are UTC. "number" is a message's identity within
-- its session and hour (services/common/message.py). Nothing here refers across devices but the surrogate keys.

CREATE TABLE device (
    device_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device     text        NOT NULL UNIQUE,
    name       text,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE device IS 'Device registry. Every transaction of the stream locks its devices here first, in order of "device".';
COMMENT ON COLUMN device.device IS 'deviceId as the app sends it';
COMMENT ON COLUMN device.last_seen IS 'broker time of the newest message';

CREATE TABLE session (
    session_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id            bigint      NOT NULL REFERENCES device,
    session              text        NOT NULL,
    first_time           timestamptz,
    last_time            timestamptz,
    last_seen            timestamptz NOT NULL,
    messages             bigint      NOT NULL DEFAULT 0,
    duplicates           bigint      NOT NULL DEFAULT 0,
    readings             bigint      NOT NULL DEFAULT 0,
    readings_quarantined bigint      NOT NULL DEFAULT 0,
    UNIQUE (device_id, session)
) WITH (fillfactor = 50);
COMMENT ON COLUMN session.session IS 'sessionId as the app sends it';
COMMENT ON COLUMN session.first_time IS 'time of the earliest stored reading; NULL while there is none';
COMMENT ON COLUMN session.last_time IS 'time of the latest stored reading; NULL while there is none';
COMMENT ON COLUMN session.last_seen IS 'broker time of the newest message';

CREATE TABLE series (
    series_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES session,
    sensor     text   NOT NULL,
    channel    text   NOT NULL,
    UNIQUE (session_id, sensor, channel)
);

CREATE TABLE message (
    session_id  bigint      NOT NULL,
    number      bigint      NOT NULL,
    first_time  timestamptz NOT NULL,
    last_time   timestamptz NOT NULL,
    broker_time timestamptz NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    readings    integer     NOT NULL,
    numbers     integer     NOT NULL,
    texts       integer     NOT NULL,
    body        bytea       NOT NULL
) PARTITION BY RANGE (first_time);
ALTER TABLE message ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX message_session_time ON message (session_id, first_time);
COMMENT ON TABLE message IS 'Every stored message whole. Messages of one session are committed in the order of their offsets.';
COMMENT ON COLUMN message.first_time IS 'time of the earliest stored reading; broker time where there is none';
COMMENT ON COLUMN message.readings IS 'stored readings: those of the body without the quarantined ones';
COMMENT ON COLUMN message.numbers IS 'numeric values that were added to the windows, once per resolution';
COMMENT ON COLUMN message.texts IS 'values that were added to text_reading';
COMMENT ON COLUMN message.body IS 'the record value, compressed with zstd';

CREATE TABLE window_1s (
    series_id bigint           NOT NULL,
    start     timestamptz      NOT NULL,
    count     bigint           NOT NULL CHECK (count > 0),
    mean      double precision NOT NULL,
    m2        double precision NOT NULL,
    min       double precision NOT NULL,
    max       double precision NOT NULL,
    PRIMARY KEY (series_id, start)
) PARTITION BY RANGE (start);
CREATE TABLE window_10s (LIKE window_1s INCLUDING ALL) PARTITION BY RANGE (start);
CREATE TABLE window_60s (LIKE window_1s INCLUDING ALL) PARTITION BY RANGE (start);
COMMENT ON COLUMN window_1s.m2 IS 'sum of the squared deviations from the mean';

-- Readings older than the partitions that were made ahead, however old, lie in the default ones.
CREATE TABLE message_default PARTITION OF message DEFAULT;
CREATE TABLE window_1s_default PARTITION OF window_1s DEFAULT;
CREATE TABLE window_10s_default PARTITION OF window_10s DEFAULT;
CREATE TABLE window_60s_default PARTITION OF window_60s DEFAULT;

CREATE TABLE text_reading (
    series_id bigint  NOT NULL,
    time_ns   bigint  NOT NULL,
    number    bigint  NOT NULL,
    position  integer NOT NULL,
    value     text    NOT NULL
);
CREATE INDEX text_reading_series_time ON text_reading (series_id, time_ns);
COMMENT ON COLUMN text_reading.position IS 'index of the reading in its message''s payload';

CREATE TABLE message_ledger (
    session_id bigint         NOT NULL,
    hour       bigint         NOT NULL,
    numbers    int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (session_id, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE message_ledger IS 'Which messages have been stored: the memory that makes storing exactly once.';
COMMENT ON COLUMN message_ledger.hour IS 'hours since the Unix epoch of the time of the message''s first reading';

CREATE TABLE quarantine (
    quarantine_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    "offset"       bigint      NOT NULL,
    position       integer     NOT NULL,
    reason         text        NOT NULL,
    detail         text        NOT NULL,
    device         text,
    session        text,
    broker_time    timestamptz NOT NULL,
    key            bytea,
    content        bytea       NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, partition, "offset", position, broker_time)
);
COMMENT ON COLUMN quarantine.position IS 'index of the reading in its message''s payload; -1: the whole record';
COMMENT ON COLUMN quarantine.content IS 'the bytes of the record, or the JSON of the reading';

CREATE TABLE batch (
    query_id             uuid        NOT NULL,
    batch_id             bigint      NOT NULL,
    topic                text        NOT NULL,
    partition            integer     NOT NULL,
    offset_from          bigint      NOT NULL,
    offset_until         bigint      NOT NULL,
    records              bigint      NOT NULL,
    messages             bigint      NOT NULL,
    duplicates           bigint      NOT NULL,
    quarantined          bigint      NOT NULL,
    readings             bigint      NOT NULL,
    readings_stored      bigint      NOT NULL,
    readings_duplicate   bigint      NOT NULL,
    readings_quarantined bigint      NOT NULL,
    trace_id             text,
    committed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (query_id, batch_id, topic, partition, offset_from, offset_until),
    CHECK (records = messages + duplicates + quarantined),
    CHECK (readings = readings_stored + readings_duplicate + readings_quarantined)
);
COMMENT ON TABLE batch IS 'One row per partition of a micro-batch, written in the transaction that stored it.';

CREATE TABLE partition_progress (
    topic                text           NOT NULL,
    partition            integer        NOT NULL,
    offsets              int8multirange NOT NULL,
    records              bigint         NOT NULL,
    messages             bigint         NOT NULL,
    duplicates           bigint         NOT NULL,
    quarantined          bigint         NOT NULL,
    readings             bigint         NOT NULL,
    readings_stored      bigint         NOT NULL,
    readings_duplicate   bigint         NOT NULL,
    readings_quarantined bigint         NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE partition_progress IS 'The sums of all batches of a partition, and which of its offsets have been stored.';

CREATE TABLE ingest_token (
    token_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text        NOT NULL UNIQUE,
    sha256          bytea       NOT NULL UNIQUE,
    previous_sha256 bytea UNIQUE,
    previous_until  timestamptz,
    shared          boolean     NOT NULL DEFAULT false,
    device          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_seen       timestamptz,
    revoked_at      timestamptz
);
COMMENT ON COLUMN ingest_token.device IS 'deviceId the token is bound to, by its first use; never set for a shared token';

CREATE FUNCTION make_partitions(from_day date, until_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    kind record;
    lower_bound timestamptz;
    made integer := 0;
    name text;
BEGIN
    FOR kind IN SELECT * FROM (VALUES ('message', 'day'), ('window_1s', 'day'), ('window_10s', 'month'), ('window_60s', 'month'))
                AS kinds (parent, unit) LOOP
        FOR lower_bound IN SELECT generate_series(date_trunc(kind.unit, from_day::timestamptz), until_day::timestamptz,
                                                  ('1 ' || kind.unit)::interval) LOOP
            name := kind.parent || to_char(lower_bound, CASE kind.unit WHEN 'day' THEN '_YYYYMMDD' ELSE '_YYYYMM' END);
            CONTINUE WHEN to_regclass(name) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)%s', name, kind.parent, lower_bound,
                               lower_bound + ('1 ' || kind.unit)::interval,
                               CASE kind.parent WHEN 'message' THEN '' ELSE ' WITH (fillfactor = 70)' END);
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'rows from % on stay in %_default, where they came before their partition', lower_bound, kind.parent;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION make_partitions IS 'Makes the missing partitions of [from_day, until_day]; returns how many. Called ahead of time by the stream.';

REVOKE ALL ON FUNCTION make_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions TO stream_writer;
GRANT SELECT, INSERT, UPDATE ON device, session, series, message_ledger, partition_progress TO stream_writer;
GRANT SELECT, INSERT, UPDATE ON window_1s, window_10s, window_60s TO stream_writer;
GRANT SELECT, INSERT ON message, text_reading, quarantine, batch TO stream_writer;

GRANT SELECT ON ingest_token TO ingest_reader;
GRANT UPDATE (device, last_seen) ON ingest_token TO ingest_reader;

GRANT SELECT ON device, session, series, message, window_1s, window_10s, window_60s, text_reading, message_ledger, quarantine,
    batch, partition_progress TO dashboard, grafana_reader;
GRANT UPDATE (name) ON device TO dashboard;
GRANT SELECT, INSERT, UPDATE ON ingest_token TO dashboard;
