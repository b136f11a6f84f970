"""What the check counts next is found by an index; the ledger's view tells of whole messages in quarantine too."""

from alembic import op

revision = "0008"
down_revision = "0007"

_VIEW = """
CREATE OR REPLACE VIEW session_ledger AS
SELECT session_id, device_id, device, device.name AS device_name, session,
       messages + holes.missing AS expected, messages AS received, holes.missing, holes.missing_ranges,
       duplicates, late,
       readings, readings_quarantined, not_known, first_time, last_time, session.last_seen{quarantined}
FROM session JOIN device USING (device_id) CROSS JOIN LATERAL (
    SELECT coalesce(sum(upper(part) - lower(part)), 0)::bigint AS missing,
           coalesce(array_agg(
               lower(part) || CASE WHEN upper(part) - lower(part) > 1 THEN '-' || upper(part) - 1 ELSE '' END
               ORDER BY run, part) FILTER (WHERE part IS NOT NULL), '{{}}') AS missing_ranges
    FROM missing_messages(session_id) LEFT JOIN LATERAL unnest(missing_messages.missing) AS part ON true
) AS holes
WHERE messages > 0
"""
_QUARANTINED = """,
       (SELECT count(*) FROM quarantine WHERE quarantine.device = device.device AND quarantine.session = session.session
           AND position = -1 AND retried_at IS NULL) AS messages_quarantined"""


def upgrade() -> None:
    op.execute("DROP INDEX message_ledger_uncounted")
    op.execute("CREATE INDEX message_ledger_counted_at ON message_ledger (counted_at)")
    op.execute("CREATE INDEX message_broker_time ON message USING brin (broker_time) WITH (pages_per_range = 32)")
    op.execute(_VIEW.format(quarantined=_QUARANTINED))


def downgrade() -> None:
    op.execute("DROP INDEX message_broker_time")
    op.execute("DROP INDEX message_ledger_counted_at")
    op.execute("CREATE INDEX message_ledger_uncounted ON message_ledger (session_id, hour) WHERE counted_at IS NULL")
    op.execute("DROP VIEW session_ledger")
    op.execute(_VIEW.format(quarantined=""))
    op.execute("GRANT SELECT ON session_ledger TO stream_writer, dashboard, grafana_reader")
