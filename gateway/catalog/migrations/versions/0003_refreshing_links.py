"""
Claims on the refreshing of a link's grant, when it was last refreshed, and when it ends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("links", sa.Column("generation", sa.Integer, nullable=False, server_default=sa.text("1")))
    op.add_column("links", sa.Column("refreshed_at", sa.BigInteger))
    op.add_column("links", sa.Column("grant_ends_at", sa.BigInteger))
    op.add_column("links", sa.Column("refreshing_until", sa.BigInteger))
    op.create_index("links_by_check", "links", ["state", "checked_at"])
