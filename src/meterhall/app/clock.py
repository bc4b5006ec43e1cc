"""The system's clocks: the one place below which nobody asks the machine for the time."""

import time


class SystemClock:
    """Implements ports.clock.Clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
