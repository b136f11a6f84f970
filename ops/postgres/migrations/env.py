"""Runs the migrations as the role `owner`. Settings: DATABASE_HOST, _PORT, _NAME, _SSL_CA_FILE, OWNER_PASSWORD_FILE."""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import URL, create_engine, pool, text

MIGRATION_LOCK = 5_346_017  # any fixed number: two migrations at once wait for each other

url = URL.create(
    "postgresql+psycopg2",
    username="owner",
    password=Path(os.environ["OWNER_PASSWORD_FILE"]).read_text(encoding="utf-8").strip(),
    host=os.environ["DATABASE_HOST"],
    port=int(os.environ["DATABASE_PORT"]),
    database=os.environ["DATABASE_NAME"],
    query={"sslmode": "verify-full", "sslrootcert": os.environ["DATABASE_SSL_CA_FILE"]},
)
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        context.run_migrations()
