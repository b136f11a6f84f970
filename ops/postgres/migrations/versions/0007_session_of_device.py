"""The newest session of a phone is found without looking at all. Both columns never change: updates stay HOT."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("CREATE INDEX session_device ON session (device_id, session_id)")


def downgrade() -> None:
    op.execute("DROP INDEX session_device")
