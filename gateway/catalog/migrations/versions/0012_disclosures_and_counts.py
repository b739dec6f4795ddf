"""
What was given to others, and counts by day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "disclosures",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("disclosures_by_user", "disclosures", ["user_id", "at"])
    op.create_table(
        "day_counts",
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("counted", sa.BigInteger, nullable=False),
    )
