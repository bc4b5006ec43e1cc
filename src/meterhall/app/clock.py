"""The system's clocks: the one place below which nobody asks the machine for the time."""

import time
import uuid
from functools import cached_property
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


class SystemClock:
    """Implements ports.clock.Clock and MachineClock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    @cached_property
    def boot_id(self) -> str:
        """Names this start of the machine; where the system has no name for it, this process."""
        try:
            # A container may have an up-time of its own (time_namespaces(7)).
            return f"{_BOOT_ID.read_text().strip()} {_TIME_NAMESPACE.readlink()}"
        except OSError:
            return str(uuid.uuid4())

    def boot_ms(self) -> int:
        """Milliseconds since this start of the machine."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock) // 1_000_000
