"""`/agent/v1`: the calls of hosts' agents (docs/formats/agent.md)."""
