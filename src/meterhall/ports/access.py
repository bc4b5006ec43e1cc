"""Who is calling: the one door between an appkey and a tenant."""

from typing import Protocol

from meterhall.model.tenant import Principal, Tenant


class Access(Protocol):
    """Answers from memory, so that it may be called on the event loop. Thread-safe."""

    def principal(self, appkey: str) -> Principal | None:
        """What the key stands for, or None where it is unknown, revoked or expired."""
        ...

    def tenant(self, principal: Principal, region: str) -> Tenant:
        """The capability for the principal's project in a configured region."""
        ...

    @property
    def regions(self) -> frozenset[str]:
        """Codes of the regions that this server answers for."""
        ...
