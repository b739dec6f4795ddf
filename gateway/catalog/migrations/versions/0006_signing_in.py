"""
Signing in: who is whom, on which devices, and how often it was tried.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("users", sa.Column("used_at", sa.BigInteger))
    op.create_table(
        "identities",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("look_up", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("identities_by_generation", "identities", ["generation"])
    op.create_table(
        "devices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_reason", sa.Text),
    )
    op.create_index("devices_by_expiry", "devices", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("device_id", sa.Text, sa.ForeignKey("devices.id"), nullable=False, index=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("successor_hash", sa.LargeBinary),
    )
    op.create_table(
        "sign_ins",
        sa.Column("secret_hash", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "tallies",
        sa.Column("subject_hash", sa.LargeBinary, primary_key=True),
        sa.Column("window_ends_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("counted", sa.Integer, nullable=False),
    )
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(sa.Column("device_id", sa.Text, sa.ForeignKey("devices.id", name="tokens_device")))
    op.create_index("ix_tokens_device_id", "tokens", ["device_id"])
    op.create_index("tokens_by_expiry", "tokens", ["expires_at"])
