"""The host's agent: collects on its own host, keeps on disk, and hands on to the service."""
