"""The schema: what the stream stores, what the dashboard shows, and who may do what. See 0001_schema.sql."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").replace("%", "%%"))


def downgrade() -> None:
    raise NotImplementedError("The first migration is undone by dropping the database.")
