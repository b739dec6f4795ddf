"""
Operators: what they did, who they are, where they are signed in.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("sealed_hash", sa.LargeBinary),
        sa.Column("entry_hash", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_index("audit_entries_by_user", "audit_entries", ["user_id", "sequence"])
    op.create_table(
        "operators",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("look_up", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "operator_sessions",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("operator_id", sa.Text, sa.ForeignKey("operators.id"), nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
