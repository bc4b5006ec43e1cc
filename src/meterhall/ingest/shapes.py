"""Shapes of pages by their hash: what an agent sent once and names from then on (docs/formats/agent.md).

Kept by tenant, so that nobody learns what another's pages look like by naming a hash. Least recently used
ones are forgotten where a tenant, or all together, have more than is allowed: they are asked for again.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from meterhall.model.errors import BadInput
from meterhall.model.tenant import Tenant
from meterhall.wire.agent_report import shape_id
from meterhall.wire.reading import KnownShape

_Name = tuple[Tenant, bytes, str]


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """Bytes of shapes as they came. What is kept of one takes about five times as much."""

    tenant_bytes_max: int = 128 << 20
    bytes_max: int = 256 << 20


class ShapeLibrary:
    """Thread-safe."""

    def __init__(self, limits: ShapeLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._shapes: OrderedDict[_Name, tuple[KnownShape, int]] = OrderedDict()
        self._bytes: dict[Tenant, int] = {}
        self._bytes_in_all = 0

    def find(self, tenant: Tenant, name: bytes, content_type: str) -> KnownShape | None:
        """The shape of this name, for pages of this content type; None where it has to be sent."""
        key = (tenant, name, content_type)
        with self._lock:
            found = self._shapes.get(key)
            if found is None:
                return None
            self._shapes.move_to_end(key)
            return found[0]

    def add(self, tenant: Tenant, name: bytes, content_type: str, text: bytes) -> KnownShape:
        """Keeps a shape. Raises BadInput where the name is not its hash."""
        if shape_id(text) != name:
            raise BadInput("the shape does not have the hash that it is named by")
        shape = KnownShape(text, content_type)
        with self._lock:
            known, _ = self._shapes.setdefault((tenant, name, content_type), (shape, len(text)))
            if known is shape:
                self._bytes[tenant] = self._bytes.get(tenant, 0) + len(text)
                self._bytes_in_all += len(text)
                self._make_room(tenant)
        return known

    @property
    def bytes_held(self) -> int:
        """Bytes of all shapes as they came."""
        return self._bytes_in_all

    def _make_room(self, tenant: Tenant) -> None:
        """Forgets the tenant's oldest shapes, and then anyone's. A shape over the limit is not kept at all."""
        while self._bytes.get(tenant, 0) > self._limits.tenant_bytes_max:
            self._forget(next(name for name in self._shapes if name[0] == tenant))
        while self._bytes_in_all > self._limits.bytes_max:
            self._forget(next(iter(self._shapes)))

    def _forget(self, name: _Name) -> None:
        _, size = self._shapes.pop(name)
        tenant = name[0]
        self._bytes_in_all -= size
        self._bytes[tenant] -= size
        if not self._bytes[tenant]:
            del self._bytes[tenant]
