"""
The first tables: users, tokens, uploads, pieces, recordings, placements, jobs, markers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key_slot", sa.BigInteger, nullable=False, unique=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("erased_at", sa.BigInteger),
        sa.Column("personal", sa.LargeBinary),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("key_slot", sa.BigInteger, nullable=False),
        sa.Column("leaf_index", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("length", sa.BigInteger),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("details", sa.LargeBinary),
        sa.Column("idempotency_hash", sa.LargeBinary),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("unsettled_fence", sa.BigInteger),
        sa.Column("unsettled_is_atomic", sa.Boolean, nullable=False),
        sa.UniqueConstraint("user_id", "idempotency_hash"),
        sa.Index("uploads_by_expiry", "state", "expires_at"),
        sa.Index("uploads_by_user", "user_id", "state"),
        sa.Index("uploads_by_leaf", "key_slot", "leaf_index"),
    )
    op.create_table(
        "pieces",
        sa.Column("recording_id", sa.Text, primary_key=True),
        sa.Column("fence", sa.BigInteger, primary_key=True),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("is_ended", sa.Boolean, nullable=False),
    )
    op.create_table(
        "recordings",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("key_slot", sa.BigInteger, nullable=False),
        sa.Column("leaf_index", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("details", sa.LargeBinary),
        sa.Column("details_revision", sa.Integer, nullable=False),
        sa.Column("commitment", sa.LargeBinary),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("purged_at", sa.BigInteger),
        sa.UniqueConstraint("key_slot", "leaf_index"),
        sa.Index("recordings_newest_first", "user_id", "state", "stored_at", "id"),
    )
    op.create_table(
        "placements",
        sa.Column("blob_key", sa.Text, primary_key=True),
        sa.Column("recording_id", sa.Text, sa.ForeignKey("recordings.id"), nullable=False, index=True),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("locator", sa.Text),
        sa.Column("sealed_size", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("placed_at", sa.BigInteger),
        sa.Column("purged_at", sa.BigInteger),
        sa.UniqueConstraint("recording_id", "backend"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("run_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("lease_holder", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("kind", "subject_id"),
        sa.Index("jobs_due", "state", "run_at"),
    )
    op.create_table(
        "markers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )
