"""Tenant and principal: who a request or a collection acts for.

A Tenant is a capability: whoever holds one can read and write that project's samples in that region.
It is made in one place, `meterhall.control.access`; a tidy test refuses any other construction. Query,
PromQL and the codecs cannot import this module.
"""

from dataclasses import dataclass
from typing import Literal

Scope = Literal["manage", "query", "write", "enrol", "agent"]
# What a project's own keys may do. `enrol` is a one-time token's only scope, `agent` a host's credential's.
ALL_SCOPES: frozenset[Scope] = frozenset(("manage", "query", "write"))
ENROL_SCOPES: frozenset[Scope] = frozenset(("enrol",))
AGENT_SCOPES: frozenset[Scope] = frozenset(("agent",))


@dataclass(frozen=True, slots=True)
class Tenant:
    """One project in one region. Both are short identifiers that the control plane issued."""

    region: str
    project: str


@dataclass(frozen=True, slots=True)
class Principal:
    """What a checked appkey stands for. It never holds the key itself.

    `host_id` is the host that an agent's credential is bound to, None for every other key.
    """

    project: str
    key_id: str
    scopes: frozenset[Scope]
    host_id: str | None = None
