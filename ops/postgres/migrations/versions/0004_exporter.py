"""postgres_exporter may know when devices were last seen: how many phones record, and when all fall silent."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("GRANT SELECT (device_id, last_seen) ON device TO exporter")


def downgrade() -> None:
    op.execute("REVOKE SELECT (device_id, last_seen) ON device FROM exporter")
