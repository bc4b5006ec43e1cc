"""The pull loop: schedule, fetch, and what became of each target."""
