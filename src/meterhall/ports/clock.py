"""Time as an argument: the only way any floor below app learns what time it is."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock and monotonic time. Implementations are thread-safe."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump either way."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for durations and deadlines."""
        ...


class MachineClock(Clock, Protocol):
    """A clock that also tells how long this machine has been up, over restarts of the process."""

    @property
    def boot_id(self) -> str:
        """Names this start of the machine."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since this start of the machine; never steps, and goes on during suspend."""
        ...
