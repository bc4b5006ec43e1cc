"""What time it is for the service, on a host whose wall clock may be wrong or may jump.

A scrape's time is decided once. The host's up-time is the ruler, because it never steps: each answer of the
service tells how far its clock is from the up-time (`hear`). While the wall clock is within a second of the
service's, its own time stands; else the service's does, with a warning.

Before the first answer within a start of the machine nothing is certain. Times then run on from what the
wall clock said first, so that a jump cannot tear them, and each scrape is kept with its up-time. At the first
answer the distance is written down for this start of the machine, durably and for good; `resolved` then
gives those scrapes the same times whenever it is asked.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from meterhall.agent.spool_format import SpooledScrape
from meterhall.agent.state import publish
from meterhall.ports.clock import MachineClock

log = structlog.get_logger()

TOLERANCE_MS: Final = 1000
# An estimate stands for this long, unless a better one comes or the service's clock is seen to have jumped.
_ESTIMATE_AGE_MS_MAX: Final = 600_000
_STEP_MS: Final = 500
_BASES_KEPT: Final = 16
_STARTS_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class _Estimate:
    """The service's clock is the up-time plus `offset_ms`, give or take `error_ms`."""

    offset_ms: int
    error_ms: int
    at_boot_ms: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """A scrape's time; `boot_id` is None where it is certain, and `boot_ms` counts where it is not."""

    time_ms: int
    boot_id: str | None
    boot_ms: int


class AgentClock:
    """Implements ports.clock.Clock. `hear` is called on the event loop, the rest on any thread."""

    def __init__(self, machine: MachineClock, file: Path) -> None:
        self._machine = machine
        self._starts = _Starts(file)
        self._anchor_ms = machine.now_ms() - machine.boot_ms()
        known_ms = self._starts.offset_ms(machine.boot_id)
        # An earlier run within this start of the machine had contact: nothing is uncertain any more.
        self._estimate = None if known_ms is None else _Estimate(known_ms, 0, machine.boot_ms())
        # Distances between our time and the up-time that were in force lately, the newest last.
        self._bases: deque[int] = deque([self._base_ms()], maxlen=_BASES_KEPT)
        self._corrected_by_ms = 0

    @property
    def certain(self) -> bool:
        """Whether the service's clock is known within this start of the machine."""
        return self._estimate is not None

    @property
    def machine(self) -> MachineClock:
        """The clocks of the host itself."""
        return self._machine

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch as the service counts them, within a second."""
        base_ms = self._base_ms()
        if abs(base_ms - self._bases[-1]) > _STEP_MS:
            self._bases.append(base_ms)
        return self._machine.boot_ms() + base_ms

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._machine.monotonic()

    def stamp(self, start_ms: int, duration_s: float) -> Stamp:
        """Decides the time of a scrape that `now_ms` called `start_ms` and that took so long.

        If our time was set right meanwhile, the scrape's is too.
        """
        began_ms = self._machine.boot_ms() - round(duration_s * 1000)
        base_ms = min(list(self._bases), key=lambda base: abs(start_ms - base - began_ms))
        boot_ms = start_ms - base_ms
        if not self.certain:
            return Stamp(start_ms, self._machine.boot_id, boot_ms)
        now_base_ms = self._base_ms()
        if abs(now_base_ms - base_ms) > TOLERANCE_MS:
            start_ms = boot_ms + now_base_ms
        return Stamp(start_ms, None, boot_ms)

    def resolved(self, scrape: SpooledScrape) -> int:
        """The time to send, the same whenever it is asked once the clock is certain."""
        if scrape.boot_id is None:
            return scrape.time_ms
        offset_ms = self._starts.offset_ms(scrape.boot_id)
        # The machine was started anew without any contact before: its own word is all there is.
        if offset_ms is None or abs(scrape.boot_ms + offset_ms - scrape.time_ms) <= TOLERANCE_MS:
            return scrape.time_ms
        return scrape.boot_ms + offset_ms

    def hear(self, service_ms: int, sent_boot_ms: int, received_boot_ms: int) -> None:
        """Takes in an answer's word for the service's clock, and when it was asked and heard.

        Raises OSError where the first word within a start of the machine cannot be written down.
        """
        middle_ms = (sent_boot_ms + received_boot_ms) // 2
        error_ms = (received_boot_ms - sent_boot_ms) // 2 + 1
        heard = _Estimate(service_ms - middle_ms, error_ms, received_boot_ms)
        if self._starts.offset_ms(self._machine.boot_id) is None:
            self._starts.set(self._machine.boot_id, heard.offset_ms)
        if _is_better(heard, self._estimate):
            self._estimate = heard
        self._tell()

    def _base_ms(self) -> int:
        """What our time now is above the up-time."""
        estimate = self._estimate
        if estimate is None:
            return self._anchor_ms
        wall_ms = self._machine.now_ms() - self._machine.boot_ms()
        agree = abs(wall_ms - estimate.offset_ms) <= TOLERANCE_MS + estimate.error_ms
        return wall_ms if agree else estimate.offset_ms

    def _tell(self) -> None:
        """Warns when the wall clock is found wrong, and says when it is right again."""
        wall_ms = self._machine.now_ms() - self._machine.boot_ms()
        by_ms = self._base_ms() - wall_ms
        if by_ms and abs(by_ms - self._corrected_by_ms) > TOLERANCE_MS:
            log.warning(
                "clock.wrong: times of scrapes are corrected by the service's clock",
                clock_is_ahead_ms=-by_ms,
            )
        elif not by_ms and self._corrected_by_ms:
            log.info("clock.right again")
        else:
            return
        self._corrected_by_ms = by_ms


def _is_better(heard: _Estimate, kept: _Estimate | None) -> bool:
    if kept is None or heard.error_ms <= kept.error_ms:
        return True
    jumped = abs(heard.offset_ms - kept.offset_ms) > heard.error_ms + kept.error_ms
    return jumped or heard.at_boot_ms - kept.at_boot_ms > _ESTIMATE_AGE_MS_MAX


class _Starts:
    """For each start of the machine, what the service's clock was above the up-time at the first contact."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offsets: dict[str, int] = {}
        try:
            self._offsets = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            pass
        except (msgspec.DecodeError, OSError) as error:
            log.warning("clock.file_unreadable", file=file.name, error=str(error))

    def offset_ms(self, boot_id: str) -> int | None:
        return self._offsets.get(boot_id)

    def set(self, boot_id: str, offset_ms: int) -> None:
        """Durably, before anyone can ask for it. Raises OSError."""
        newest = list(self._offsets.items())[-_STARTS_KEPT + 1 :]
        offsets = dict([*newest, (boot_id, offset_ms)])
        publish(self._file, msgspec.json.encode(offsets))
        self._offsets = offsets
