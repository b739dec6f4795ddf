"""
The next job is found by its kind: those of other kinds are not looked at.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_index("jobs_due", "jobs")
    op.create_index("jobs_due", "jobs", ["state", "kind", "run_at"])
