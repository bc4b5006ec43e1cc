"""The schema's history for Alembic: numbered steps, forward only."""
