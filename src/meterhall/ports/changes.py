"""How far back samples have changed: what a store tells those who keep what they made of them."""

from typing import Protocol

# Where nothing has changed.
NEVER = 2**63 - 1


class Changes(Protocol):
    """Of one tenant's samples. Thread-safe.

    Whoever keeps an answer takes `revision` before reading; what it later learns from `earliest_since` covers whatever
    came or went while it read.
    """

    def revision(self) -> int:
        """A number for what readers see at least; it never falls."""
        ...

    def earliest_since(self, revision: int) -> int:
        """Samples before this time are as they were: none has come, none has gone, late or deleted.

        Earlier than true where the store has forgotten; NEVER where nothing has changed.
        """
        ...
