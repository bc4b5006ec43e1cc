"""Retentions of projects and workspaces, and which projects were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "retentions",
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "job", name=op.f("pk_retentions")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_retentions_project_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "deleted_projects",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_projects")),
    )
