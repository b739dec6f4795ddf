"""
Retention and holds: what is overdue, what went together, what must stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # Whoever was never seen counts as used on the day he came.
    op.execute("UPDATE users SET used_at = created_at - created_at % 86400000 WHERE used_at IS NULL")
    op.add_column("recordings", sa.Column("expiry_id", sa.Text))
    is_live = sa.text("state = 'live'")
    op.create_index(
        "recordings_by_age", "recordings", ["stored_at"], sqlite_where=is_live, postgresql_where=is_live
    )
    op.create_table(
        "expiries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("key_slot", sa.BigInteger, nullable=False),
        sa.Column("first_leaf", sa.BigInteger, nullable=False),
        sa.Column("last_leaf", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("purged_at", sa.BigInteger),
    )
    op.create_table(
        "retention_stops",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("stored_before", sa.BigInteger, nullable=False),
        sa.Column("clock_at", sa.BigInteger, nullable=False),
        sa.Column("stopped_at", sa.BigInteger, nullable=False),
        sa.Column("approved_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("recording_id", sa.Text, sa.ForeignKey("recordings.id")),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("tells_user", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger),
        sa.Column("lifted_at", sa.BigInteger),
    )
