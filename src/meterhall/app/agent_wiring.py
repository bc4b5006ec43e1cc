"""Settings to the agent channel: the fleet behind it and the application in front."""

from collections.abc import Callable
from concurrent.futures import Executor

from meterhall.app.config import Settings
from meterhall.collect.fleet import Fleet, FleetSettings
from meterhall.collect.lane import Sessions
from meterhall.control.plane import Control
from meterhall.ingest.allowance import Allowances
from meterhall.ingest.backfill import BackfillWriter
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.ingest.shapes import ShapeLibrary, ShapeLimits
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant
from meterhall.ports.append import SampleWriter
from meterhall.ports.clock import Clock
from meterhall.web.agent.api import AgentBackend
from meterhall.web.agent.enrolment import EnrolmentDesk, EnrolmentSettings
from meterhall.web.agent.reports import ReportDesk, ReportSettings
from meterhall.web.agent.targets import Handout
from meterhall.wire.agent_calls import ReportLimits


def create_fleet(
    settings: Settings,
    control: Control,
    writer: Callable[[Tenant], SampleWriter],
    catalog: MetadataCatalog,
    allowances: Allowances,
    clock: Clock,
) -> Fleet:
    """The fleet."""
    limits = ScrapeLimits(samples_max=settings.collect.samples_max)

    def session(
        target: ScrapeTarget, catalog: MetadataCatalog, appends: int | None
    ) -> ScrapeSession:
        tenant_writer = BackfillWriter(writer(target.tenant), appends)
        allowance = allowances.of(target.tenant)
        return ScrapeSession(target, tenant_writer, catalog, limits, allowance)

    # What a page of the past declared is nobody's business: a catalog that is never read.
    unread = MetadataCatalog()
    sessions = Sessions(
        # After a restart nobody knows what a target's newest scrape was, until it has sent one.
        live=lambda target: session(target, catalog, 1),
        filling=lambda target: session(target, unread, None),
    )
    fleet_settings = FleetSettings(poll_s=settings.agents.poll / 1000)
    return Fleet(settings.server.regions, control.inventory, sessions, clock, fleet_settings)


def create_agent_backend(
    settings: Settings, control: Control, fleet: Fleet, executor: Executor, clock: Clock
) -> AgentBackend:
    """What answers the calls; `reports` has threads and is to be closed. `executor` enrols."""
    agents = settings.agents
    limits = ReportLimits(
        page_bytes_max=settings.collect.page_bytes_max,
        samples_max=settings.collect.samples_max,
        batch_bytes_max=agents.batch_bytes_max,
        batch_decoded_bytes_max=agents.batch_decoded_bytes_max,
    )
    shapes = ShapeLibrary(ShapeLimits(agents.shape_bytes_max // 2, agents.shape_bytes_max))
    return AgentBackend(
        fleet,
        EnrolmentDesk(control.agents, executor, clock, EnrolmentSettings()),
        Handout(agents.poll / 1000, limits),
        ReportDesk(fleet, shapes, clock, ReportSettings(limits)),
        clock,
    )
