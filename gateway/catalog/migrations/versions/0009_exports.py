"""
Exports: what users take away.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("key_slot", sa.BigInteger, nullable=False),
        sa.Column("leaf_index", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("include", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("recordings", sa.Integer, nullable=False),
        sa.Column("checked", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("layout", sa.Integer, nullable=False),
        sa.Column("is_zip64", sa.Boolean, nullable=False),
        sa.Column("members", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("directory_offset", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("ready_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_reason", sa.Text),
        sa.Column("shredded_at", sa.BigInteger),
        sa.UniqueConstraint("key_slot", "leaf_index"),
    )
    op.create_index("exports_by_expiry", "exports", ["state", "expires_at"])
    op.create_table(
        "export_entries",
        sa.Column("export_id", sa.Text, sa.ForeignKey("exports.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("failing_since", sa.BigInteger),
    )
    op.create_index("export_entries_by_state", "export_entries", ["export_id", "state"])
    op.create_table(
        "export_parts",
        sa.Column("export_id", sa.Text, sa.ForeignKey("exports.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("title", sa.Text),
        sa.Column("first_entry", sa.Integer),
        sa.Column("last_entry", sa.Integer),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("is_stale", sa.Boolean, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("directory_length", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("directory_offset", sa.BigInteger, nullable=False),
    )
