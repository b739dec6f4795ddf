"""
The first tables: the key tree, index marks, service keys, the shredding log and the receipts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tree_head",
        sa.Column(
            "id", sa.SmallInteger, sa.CheckConstraint("id = 1", name="tree_head_is_one_row"), primary_key=True
        ),
        sa.Column("tree_id", sa.LargeBinary, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("next_slot", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tree_pages",
        sa.Column("depth", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("first_slot", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tree_states",
        sa.Column("slot", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "index_marks",
        sa.Column("slot", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("next_index", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "service_keys",
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("leaf_index", sa.BigInteger, nullable=False, unique=True),
    )
    op.create_table(
        "shredding_log",
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject_id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("first_leaf", sa.BigInteger),
        sa.Column("last_leaf", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("subject_hash", sa.LargeBinary, nullable=False),
        sa.Column("commitment", sa.LargeBinary),
        sa.Column("placements", sa.Text, nullable=False),
        sa.Column("destroyed_root", sa.LargeBinary, nullable=False),
        sa.Column("receipt", sa.BigInteger, unique=True),
    )
    op.create_table(
        "receipts",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("receipts_by_subject", "receipts", ["subject_id", "sequence"])
