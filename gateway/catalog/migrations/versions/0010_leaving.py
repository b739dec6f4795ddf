"""
Leaving: who is about to be erased, and by which look-up key those were found who are gone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("users", sa.Column("leaving_since", sa.BigInteger))
    op.add_column("users", sa.Column("leaves_at", sa.BigInteger))
    op.add_column("users", sa.Column("look_up_generation", sa.Integer))
    op.create_index(
        "users_leaving",
        "users",
        ["leaves_at"],
        sqlite_where=sa.text("leaves_at IS NOT NULL"),
        postgresql_where=sa.text("leaves_at IS NOT NULL"),
    )
    # A row that can be locked, on engines that lock rows.
    op.execute(
        "INSERT INTO markers (name, position) SELECT 'look-up-key', 0"
        " WHERE NOT EXISTS (SELECT 1 FROM markers WHERE name = 'look-up-key')"
    )
    # Until now nothing replaced the first key, and whoever left was found by it.
    op.execute("UPDATE users SET look_up_generation = 1 WHERE state = 'erased'")
    op.execute(
        "INSERT INTO markers (name, position) SELECT 'look-up-left', 1"
        " WHERE EXISTS (SELECT 1 FROM users WHERE state = 'erased')"
    )
