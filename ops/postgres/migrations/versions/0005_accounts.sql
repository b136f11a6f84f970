-- People of the dashboard. They are made and changed by the role "owner" (services/dashboard/users.py); the dashboard's own
-- role can only look them up, set a password, and make the first one.

CREATE TABLE dashboard_user (
    user_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text        NOT NULL,
    password_hash text        NOT NULL,
    role          text        NOT NULL CHECK (role IN ('viewer', 'operator')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE UNIQUE INDEX dashboard_user_name ON dashboard_user (lower(name));
COMMENT ON COLUMN dashboard_user.password_hash IS 'argon2id, with its parameters and salt';

CREATE TABLE sign_in (
    sha256     bytea       PRIMARY KEY,
    user_id    bigint      NOT NULL REFERENCES dashboard_user ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used  timestamptz NOT NULL DEFAULT now(),
    address    text        NOT NULL,
    agent      text        NOT NULL
);
CREATE INDEX sign_in_user ON sign_in (user_id);
COMMENT ON TABLE sign_in IS 'Who is signed in now: one row per browser. Signing out deletes it.';
COMMENT ON COLUMN sign_in.sha256 IS 'of the secret in the browser''s cookie';

CREATE TABLE sign_in_failure (
    at      timestamptz NOT NULL DEFAULT now(),
    name    text        NOT NULL,
    network text        NOT NULL
);
CREATE INDEX sign_in_failure_at ON sign_in_failure (at);
COMMENT ON TABLE sign_in_failure IS 'Attempts that have not succeeded, for throttling; rows older than a day are deleted.';
COMMENT ON COLUMN sign_in_failure.name IS 'SHA-256 of the name that was typed: people also type passwords there';
COMMENT ON COLUMN sign_in_failure.network IS 'IPv4 address, or the /64 of an IPv6 address';

CREATE TABLE audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    actor    text        NOT NULL,
    address  text        NOT NULL,
    action   text        NOT NULL,
    subject  text        NOT NULL DEFAULT '',
    detail   text        NOT NULL DEFAULT ''
);
COMMENT ON TABLE audit IS 'What people did, for good: no role of a service can change or delete a row.';

CREATE FUNCTION make_first_user(name text, password_hash text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    LOCK TABLE dashboard_user IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO dashboard_user (name, password_hash, role)
    SELECT $1, $2, 'operator' WHERE NOT EXISTS (SELECT FROM dashboard_user);
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION make_first_user IS 'Makes the first operator; returns false, and does nothing, once there is any user.';

REVOKE ALL ON FUNCTION make_first_user FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_first_user TO dashboard;
GRANT SELECT, UPDATE (password_hash) ON dashboard_user TO dashboard;
GRANT SELECT, INSERT, DELETE, UPDATE (last_used) ON sign_in TO dashboard;
GRANT SELECT, INSERT, DELETE ON sign_in_failure TO dashboard;
GRANT SELECT, INSERT ON audit TO dashboard;
