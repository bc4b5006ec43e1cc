"""The tables, as SQLAlchemy Core sees them. `migrations/` makes the same ones step by step, and a test
compares the two.

Every table that is listed has `seq`, which orders rows by creation even within one millisecond.
Identifiers are text. Times are milliseconds since the Unix epoch.

    projects ─┬─ keys ───┐
              ├─ limits, retentions
              ├─ hosts ──┼─ agents           (rows below go when the row above goes)
              └─ jobs ───┴─ targets

    deleted_projects: ids that are never given again, and whose samples the store drops

    changes: one counter a topic, raised by every transaction that changes what the topic covers
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The newest migration. A fresh database is made from this file at once and stamped with it.
REVISION = "0004"

ACCESS_TOPIC = "access"
INVENTORY_TOPIC = "inventory"
TOPICS = (ACCESS_TOPIC, INVENTORY_TOPIC)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows only in a column whose type is spelled INTEGER.
BIG_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def _seq() -> Column[int]:
    return Column("seq", BIG_SERIAL, primary_key=True, autoincrement=True)


def _id(chars: int = 36) -> Column[str]:
    return Column("id", String(chars), nullable=False, unique=True)


def _parent(name: str, column: str, **options: Any) -> Column[str]:
    return Column(
        name, String(36), ForeignKey(column, ondelete="CASCADE"), nullable=False, **options
    )


projects = Table(
    "projects",
    metadata,
    _seq(),
    _id(),
    Column("name", String(255), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    _parent("project_id", "projects.id", primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

retentions = Table(
    "retentions",
    metadata,
    _parent("project_id", "projects.id", primary_key=True),
    # Empty for the project's own.
    Column("job", String(64), primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

deleted_projects = Table(
    "deleted_projects",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("deleted_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    _seq(),
    _id(),
    _parent("project_id", "projects.id", index=True),
    Column("name", String(255), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),
)

hosts = Table(
    "hosts",
    metadata,
    _seq(),
    _id(),
    _parent("project_id", "projects.id", index=True),
    Column("region", String(32), nullable=False),
    Column("name", String(255), nullable=False),
    Column("address", String(255), nullable=False),
    Column("instance_id", String(255)),
    Column("os", String(16), nullable=False),
    Column("collect", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint("collect IN ('direct', 'agent')", name="collect"),
)

jobs = Table(
    "jobs",
    metadata,
    _seq(),
    _id(),
    _parent("project_id", "projects.id"),
    Column("region", String(32), nullable=False),
    Column("name", String(64), nullable=False),
    Column("metrics_path", String(1024), nullable=False),
    Column("description", Text),
    Column("interval_ms", Integer),
    Column("reserved_code", String(16)),
    Column("modifier", String(36)),
    Column("modified_ms", BigInteger, nullable=False),
    UniqueConstraint("project_id", "region", "name"),
)

targets = Table(
    "targets",
    metadata,
    _seq(),
    _id(),
    _parent("job_id", "jobs.id"),
    _parent("host_id", "hosts.id", index=True),
    Column("port", Integer, nullable=False),
    Column("builtin", Boolean, nullable=False),
    Column("modifier", String(36)),
    Column("modified_ms", BigInteger, nullable=False),
    # The last report. `since_ms` is when it began to say what it says now.
    Column("status", String(16)),
    Column("result_code", Integer, nullable=False),
    Column("fail_reason", String(255)),
    Column("since_ms", BigInteger),
    UniqueConstraint("job_id", "host_id", "port"),
    CheckConstraint("port BETWEEN 1 AND 65535", name="port"),
)

agents = Table(
    "agents",
    metadata,
    _seq(),
    _parent("project_id", "projects.id"),
    # What the agent calls itself. Not unique over projects, or one could learn of another's.
    Column("agent_id", String(36), nullable=False),
    _parent("host_id", "hosts.id", unique=True),
    # Its credential of now, in `keys`; earlier ones are deleted.
    _parent("key_id", "keys.id", unique=True),
    Column("version", String(64), nullable=False),
    Column("enrolled_ms", BigInteger, nullable=False),
    # Since when nothing has been heard of it; null while it is heard.
    Column("silent_ms", BigInteger),
    UniqueConstraint("project_id", "agent_id"),
)

changes = Table(
    "changes",
    metadata,
    Column("topic", String(16), primary_key=True),
    Column("counter", BigInteger, nullable=False),
)
