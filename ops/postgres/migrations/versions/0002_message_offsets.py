"""An index of messages by offset: what came last in a session, whatever the times of its readings."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute('CREATE INDEX message_session_offset ON message (session_id, partition, "offset")')


def downgrade() -> None:
    op.execute("DROP INDEX message_session_offset")
