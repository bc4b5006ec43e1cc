"""What Alembic runs around the steps: they share the caller's connection and transaction."""

from alembic import context

from meterhall.control import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=False,
)
context.run_migrations()
