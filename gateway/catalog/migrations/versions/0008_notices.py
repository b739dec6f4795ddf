"""
Telling users: notices and their delivery, preferences, policies, unused accounts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("users_by_use", "users", ["state", "used_at"])
    op.add_column("links", sa.Column("ill_since", sa.BigInteger))
    op.add_column("links", sa.Column("told", sa.Text))
    is_ill = sa.text("ill_since IS NOT NULL")
    op.create_index("links_ill", "links", ["ill_since"], sqlite_where=is_ill, postgresql_where=is_ill)
    op.create_table(
        "notice_runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("is_promotional", sa.Boolean, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("position", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_table(
        "notice_audiences",
        sa.Column("run_id", sa.Text, sa.ForeignKey("notice_runs.id"), primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
    )
    op.create_index("notice_audiences_by_user", "notice_audiences", ["user_id"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("occasion", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, sa.ForeignKey("notice_runs.id")),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("read_at", sa.BigInteger),
        sa.Column("mail_state", sa.Text, nullable=False),
        sa.Column("mail_reason", sa.Text),
        sa.Column("mail_tries", sa.Integer, nullable=False),
        sa.Column("mail_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "kind", "occasion"),
    )
    op.create_index("notices_newest_first", "notices", ["user_id", "created_at", "id"])
    op.create_index("notices_of_run", "notices", ["run_id", "mail_state"])
    op.create_table(
        "mail_preferences",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("promotional", sa.Boolean, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "policies",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("effective_at", sa.BigInteger, nullable=False),
        sa.Column("published_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "policy_acceptances",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("policies.version"), primary_key=True),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "expiry_notices",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("days", sa.Integer, primary_key=True),
        sa.Column("stored_before", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "unused_accounts",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("told_days", sa.Integer, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
    )
