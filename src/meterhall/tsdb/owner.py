"""Whose samples: the name under which files and memory keep a tenant's samples apart.

An Owner opens nothing. `model.tenant.Tenant` is the capability, and only the control plane makes one; the store
turns it into an Owner at its door, and reads Owners back from its own files.
"""

from typing import NamedTuple


class Owner(NamedTuple):
    """One project in one region."""

    region: str
    project: str
