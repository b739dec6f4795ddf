"""
What became of copies, and moves that end with the link that they empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("placements", sa.Column("recoverable_until", sa.BigInteger))
    op.create_index("placements_by_place", "placements", ["backend", "state"])
    op.create_index("placements_by_check", "placements", ["state", "checked_at"])
    op.add_column("moves", sa.Column("unlinks", sa.Boolean, nullable=False, server_default=sa.false()))
