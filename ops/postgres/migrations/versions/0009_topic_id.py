"""Stored offsets say which topic they are of: one that was made anew has the name of the one before, not its id."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE partition_progress ADD COLUMN topic_id text")
    op.execute("COMMENT ON COLUMN partition_progress.topic_id IS 'Kafka''s id of the topic that the offsets are of'")


def downgrade() -> None:
    op.execute("ALTER TABLE partition_progress DROP COLUMN topic_id")
