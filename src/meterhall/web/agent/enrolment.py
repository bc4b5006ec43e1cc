"""`POST /agent/v1/enrol`: an agent becomes a host of the key's project and gets a credential of its own.

It writes to the control database, so it is slow and its rate is bounded: by project, and by how many may wait.
"""

import asyncio
import math
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import cast, get_args

from meterhall.control import agents
from meterhall.control.hosts import Os
from meterhall.model.errors import BadInput, Overloaded
from meterhall.model.tenant import Principal
from meterhall.ports.clock import Clock
from meterhall.web.auth import require_scope
from meterhall.wire.agent_calls import Enrolled, Enrolment, decode_message, encode_message

# A project that was idle longer than its burst takes to fill is as good as new.
_PROJECTS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    """Bounds of enrolment. A project may enrol `burst` agents at once, and `per_second` from then on."""

    body_bytes_max: int = 16 << 10
    burst: int = 100
    per_second: float = 10.0
    waiting_max: int = 50


class EnrolmentDesk:
    """Takes agents in. Used on the event loop; the work itself runs on the executor."""

    def __init__(
        self, agents_: agents.Agents, executor: Executor, clock: Clock, settings: EnrolmentSettings
    ) -> None:
        self._agents = agents_
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._waiting = 0
        # Project → when its bucket will be full again, monotonic seconds.
        self._full_at_s: dict[str, float] = {}

    @property
    def body_bytes_max(self) -> int:
        """The largest body."""
        return self._settings.body_bytes_max

    def admit(self, principal: Principal) -> None:
        """Raises Forbidden for a key that may not enrol, Overloaded where there are too many at once."""
        require_scope(principal, "write", "enrol")
        if self._waiting >= self._settings.waiting_max:
            raise Overloaded("too many agents enrol at once; try again later", 2)
        self._spend(principal.project)

    async def enrol(self, principal: Principal, body: bytes) -> bytes:
        """The answer to an admitted call. Raises BadInput, Unauthorized, ControlError."""
        enrolment = _enrolment(decode_message(body, Enrolment))
        self._waiting += 1
        try:
            made = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._agents.enrol, principal, enrolment
            )
        finally:
            self._waiting -= 1
        return encode_message(Enrolled(made.host_id, made.key.secret, made.region))

    def _spend(self, project: str) -> None:
        """Takes one from the project's bucket, which is kept as the time when it will be full."""
        now_s, each_s = self._clock.monotonic(), 1 / self._settings.per_second
        full_at_s = max(now_s, self._full_at_s.pop(project, now_s)) + each_s
        late_s = full_at_s - now_s - self._settings.burst * each_s
        if late_s > 0:
            self._full_at_s[project] = full_at_s - each_s
            raise Overloaded("too many agents enrol at once; try again later", math.ceil(late_s))
        while len(self._full_at_s) >= _PROJECTS_REMEMBERED:
            del self._full_at_s[next(iter(self._full_at_s))]
        self._full_at_s[project] = full_at_s


def _enrolment(told: Enrolment) -> agents.Enrolment:
    if told.os not in get_args(Os):
        raise BadInput(f"os must be one of {', '.join(get_args(Os))}")
    return agents.Enrolment(
        told.agent_id,
        told.hostname,
        told.address,
        cast("Os", told.os),
        told.instance_id,
        told.region,
        told.version,
    )
