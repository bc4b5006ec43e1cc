"""What one project may still send: its ceilings, how much of each it uses, and what was refused over them.

Over a ceiling new series are refused and named, and old ones go on. How samples a second are counted:

    a bucket holds up to `samples_burst` samples and fills by `samples_per_second`
    a push is taken whole while the bucket is not empty, and may leave it in debt
    a push that finds it empty is refused whole, before it is decoded: LimitExceeded, with when to try again
    a collection cannot be sent again: its old series are taken, and only new ones are refused

So an old series that is collected never stops, and what is pushed waits for what is collected.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meterhall.model.errors import LimitExceeded, TooLarge
from meterhall.model.labels import Labels, format_labels
from meterhall.model.limits import ProjectLimits
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock
from meterhall.ports.limits import LimitSource

ACTIVE_SERIES = "active_series"
SAMPLES_PER_SECOND = "samples_per_second"
LABELS_PER_SERIES = "labels_per_series"
LABEL_NAME_BYTES = "label_name_bytes"
LABEL_VALUE_BYTES = "label_value_bytes"

# The rate that is shown is the mean of the last whole slot.
_SLOT_S = 10.0
# When a push with new series over the ceiling may be tried again: series go idle slowly.
_SERIES_RETRY_S = 60
_SHOWN_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Usage:
    """One ceiling, 0 for none: how much of it is used, and how many series (or pushes) it has refused.

    Of the ceilings on labels `used` is the largest that was seen since the start.
    """

    name: str
    limit: int
    used: int
    refused: int


class Allowance:
    """One project's. Thread-safe."""

    def __init__(self, limits: Callable[[], ProjectLimits], clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        # Samples taken that the rate has not paid for yet.
        self._owed = 0.0
        self._paid_at = clock.monotonic()
        self._slot_began = self._paid_at
        self._slot_samples = 0
        self._rate = 0.0
        self._refused = dict.fromkeys(
            (
                ACTIVE_SERIES,
                SAMPLES_PER_SECOND,
                LABELS_PER_SERIES,
                LABEL_NAME_BYTES,
                LABEL_VALUE_BYTES,
            ),
            0,
        )
        self._largest = dict.fromkeys((LABELS_PER_SERIES, LABEL_NAME_BYTES, LABEL_VALUE_BYTES), 0)

    @property
    def series_max(self) -> int | None:
        """How many series the project may have, None for any number: what `intern` is told."""
        return self._limits().active_series or None

    def admit(self) -> None:
        """Raises LimitExceeded while the project is over its rate."""
        wait_s = self._wait_s()
        if wait_s > 0:
            limits = self._limits()
            raise LimitExceeded(
                f"over the limit of {limits.samples_per_second} samples a second "
                f"(burst {_burst(limits)})",
                max(1, math.ceil(wait_s)),
            )

    @property
    def exhausted(self) -> bool:
        """Whether `admit` would refuse."""
        return self._wait_s() > 0

    def charge(self, samples: int, *, collected: bool = False) -> None:
        """Counts samples that are taken. What is collected leaves a debt of one burst at most."""
        limits = self._limits()
        with self._lock:
            self._pay(limits)
            owed = self._owed + samples
            if collected:
                owed = max(self._owed, min(owed, 2.0 * _burst(limits)))
            self._owed = owed if limits.samples_per_second else 0.0
            self._slot_samples += samples

    def check_labels(self, labels: Labels) -> None:
        """Raises TooLarge where there are too many labels, or one is too long."""
        limits = self._limits()
        self._check(
            LABELS_PER_SERIES, len(labels), limits.labels_per_series, "label limit", "labels"
        )
        names_max = self._passed(LABEL_NAME_BYTES, limits.label_name_bytes)
        values_max = self._passed(LABEL_VALUE_BYTES, limits.label_value_bytes)
        for name, value in labels:
            if len(name) > names_max or not name.isascii():
                self._check_bytes(
                    LABEL_NAME_BYTES, name, limits.label_name_bytes, "label name length"
                )
            if len(value) > values_max or not value.isascii():
                self._check_bytes(
                    LABEL_VALUE_BYTES, value, limits.label_value_bytes, "label value length"
                )

    def refuse(self, name: str, count: int) -> None:
        """Counts what was refused over a ceiling."""
        if count:
            with self._lock:
                self._refused[name] += count

    def series_refusal(self, refused: int) -> LimitExceeded:
        """What to tell of new series that were not taken."""
        if self.exhausted:
            text = f"over the limit of {self._limits().samples_per_second} samples a second"
        else:
            text = f"over the limit of {self._limits().active_series} active series"
        return LimitExceeded(f"{text}: {refused} new series refused", _SERIES_RETRY_S)

    def usage(self, active_series: int) -> Sequence[Usage]:
        """Every ceiling; the store tells how many series there are."""
        limits = self._limits()
        with self._lock:
            self._pay(limits)
            used = {ACTIVE_SERIES: active_series, SAMPLES_PER_SECOND: round(self._rate)}
            used |= self._largest
            return [
                Usage(name, getattr(limits, name), used[name], refused)
                for name, refused in self._refused.items()
            ]

    def _wait_s(self) -> float:
        """Seconds until a push is admitted."""
        limits = self._limits()
        if not limits.samples_per_second:
            return 0.0
        with self._lock:
            self._pay(limits)
            # Just paid for is not yet empty-handed: a request needs at least one sample's room.
            over = self._owed - _burst(limits) + 1
            return over / limits.samples_per_second if over > 0 else 0.0

    def _pay(self, limits: ProjectLimits) -> None:
        now = self._clock.monotonic()
        self._owed = max(0.0, self._owed - (now - self._paid_at) * limits.samples_per_second)
        self._paid_at = now
        if now - self._slot_began >= _SLOT_S:
            self._rate = self._slot_samples / (now - self._slot_began)
            self._slot_began, self._slot_samples = now, 0

    def _passed(self, name: str, limit: int) -> int:
        """Up to this size nothing is to be said or noted."""
        largest = self._largest[name]
        return min(largest, limit) if limit else largest

    def _check_bytes(self, name: str, text: str, limit: int, what: str) -> None:
        # Most labels are ASCII and need no encoding to be measured.
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self._check(name, size, limit, f"{what} limit", "bytes")

    def _check(self, name: str, size: int, limit: int, what: str, unit: str) -> None:
        if limit and size > limit:
            self.refuse(name, 1)
            raise TooLarge(f"{what} exceeded: {size} {unit}, limit {limit}")
        if size > self._largest[name]:
            self._largest[name] = size


class Allowances:
    """Every project's, made on first use. Thread-safe."""

    def __init__(self, source: LimitSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._by_tenant: dict[Tenant, Allowance] = {}
        self._lock = threading.Lock()

    def of(self, tenant: Tenant) -> Allowance:
        """The tenant's; the same object every time."""
        found = self._by_tenant.get(tenant)
        if found is None:
            made = Allowance(lambda: self._source.limits(tenant), self._clock)
            with self._lock:
                found = self._by_tenant.setdefault(tenant, made)
        return found

    def tenants(self) -> Sequence[Tenant]:
        """Those that have sent anything since the start."""
        with self._lock:
            return list(self._by_tenant)


def series_text(labels: Labels) -> str:
    """A series as its sender knows it, cut where it is long."""
    text = format_labels(labels)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


def _burst(limits: ProjectLimits) -> int:
    return limits.samples_burst or limits.samples_per_second
