"""What the check counts next is found by an index, and so are the messages of an hour."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("DROP INDEX message_ledger_uncounted")
    op.execute("CREATE INDEX message_ledger_counted_at ON message_ledger (counted_at)")
    op.execute("CREATE INDEX message_broker_time ON message USING brin (broker_time) WITH (pages_per_range = 32)")
    op.execute("GRANT SELECT ON purge TO dashboard, grafana_reader")


def downgrade() -> None:
    op.execute("DROP INDEX message_broker_time")
    op.execute("DROP INDEX message_ledger_counted_at")
    op.execute("CREATE INDEX message_ledger_uncounted ON message_ledger (session_id, hour) WHERE counted_at IS NULL")
