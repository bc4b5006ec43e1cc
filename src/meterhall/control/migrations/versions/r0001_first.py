"""Projects, keys, hosts, workspaces, targets and the counters of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "projects",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_projects")),
        sa.UniqueConstraint("id", name=op.f("uq_projects_id")),
    )
    _create_keys()
    _create_hosts()
    _create_jobs()
    _create_targets()
    changes = op.create_table(
        "changes",
        sa.Column("topic", sa.String(16), nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_changes")),
    )
    rows = [{"topic": topic, "counter": 0} for topic in ("access", "inventory")]
    op.bulk_insert(changes, rows)


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.Column("last_used_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_keys")),
        sa.UniqueConstraint("id", name=op.f("uq_keys_id")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_keys_project_id"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_keys_project_id"), "keys", ["project_id"])


def _create_hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("region", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("instance_id", sa.String(255)),
        sa.Column("os", sa.String(16), nullable=False),
        sa.Column("collect", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_hosts")),
        sa.UniqueConstraint("id", name=op.f("uq_hosts_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_hosts_project_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("collect IN ('direct', 'agent')", name=op.f("ck_hosts_collect")),
    )
    op.create_index(op.f("ix_hosts_project_id"), "hosts", ["project_id"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("region", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("metrics_path", sa.String(1024), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("interval_ms", sa.Integer),
        sa.Column("reserved_code", sa.String(16)),
        sa.Column("modifier", sa.String(36)),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
        sa.UniqueConstraint(
            "project_id", "region", "name", name=op.f("uq_jobs_project_id_region_name")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id"), ondelete="CASCADE"
        ),
    )


def _create_targets() -> None:
    op.create_table(
        "targets",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("host_id", sa.String(36), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("builtin", sa.Boolean, nullable=False),
        sa.Column("modifier", sa.String(36)),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16)),
        sa.Column("result_code", sa.Integer, nullable=False),
        sa.Column("fail_reason", sa.String(255)),
        sa.Column("since_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_targets")),
        sa.UniqueConstraint("id", name=op.f("uq_targets_id")),
        sa.UniqueConstraint(
            "job_id", "host_id", "port", name=op.f("uq_targets_job_id_host_id_port")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_targets_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name=op.f("fk_targets_host_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_targets_port")),
    )
    op.create_index(op.f("ix_targets_host_id"), "targets", ["host_id"])
