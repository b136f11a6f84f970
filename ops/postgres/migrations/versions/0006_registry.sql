ALTER TABLE device ADD platform text CHECK (platform IN ('ios', 'android')), ADD standardised boolean;
COMMENT ON COLUMN device.platform IS 'as somebody said; NULL: not said';
COMMENT ON COLUMN device.standardised IS 'whether the app''s "Standardise Units & Frames" is on, as somebody said; NULL: not said';
ALTER TABLE session ADD title text, ADD notes text;
COMMENT ON COLUMN session.title IS 'what somebody called the session';

CREATE INDEX ingest_token_device ON ingest_token (device);
GRANT UPDATE (platform, standardised) ON device TO dashboard;
GRANT UPDATE (title, notes) ON session TO dashboard;
