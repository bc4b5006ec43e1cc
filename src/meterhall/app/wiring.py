"""Settings to objects: the one place that names concrete stores, and the order in which things open and close."""

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from meterhall.app.clock import SystemClock
from meterhall.app.config import Settings
from meterhall.app.control_plane import data_directory, open_control
from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.collector import Collaborators, Collector, CollectSettings
from meterhall.collect.fetch import FetchSettings
from meterhall.collect.hostmetrics.machine import HostMetrics
from meterhall.control.plane import Control
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.target import ScrapeTarget
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

STORE_FOLDER = "tsdb"


@dataclass(frozen=True, slots=True)
class Service:
    """What a running service holds, in the order in which it was opened."""

    settings: Settings
    clock: SystemClock
    control: Control
    store: EmbeddedStore
    collector: Collector
    public: ASGIApp
    admin: ASGIApp


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Opens the store first: it holds the lock on the data directory. Closes in reverse order.

    Raises StoreLocked where another process serves this directory, ConfigError on a wrong setting.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        store = EmbeddedStore(
            data_directory(settings) / STORE_FOLDER,
            StoreSettings(
                retention_ms=settings.storage.retention,
                out_of_order_window_ms=settings.storage.out_of_order_window,
            ),
            clock,
        )
        stack.callback(store.close)
        control = open_control(settings)
        stack.callback(control.close)
        control.start()
        yield _assembled(settings, clock, control, store)


def _assembled(
    settings: Settings, clock: SystemClock, control: Control, store: EmbeddedStore
) -> Service:
    catalog = MetadataCatalog()
    collector = _collector(settings, clock, control, store, catalog)
    return Service(
        settings=settings,
        clock=clock,
        control=control,
        store=store,
        collector=collector,
        public=_public(settings, clock, control, store, catalog, collector),
        admin=create_admin(),
    )


def _collector(
    settings: Settings,
    clock: SystemClock,
    control: Control,
    store: EmbeddedStore,
    catalog: MetadataCatalog,
) -> Collector:
    limits = ScrapeLimits(samples_max=settings.collect.samples_max)
    host_metrics = HostMetrics(clock)

    def open_session(target: ScrapeTarget) -> ScrapeSession:
        return ScrapeSession(target, store.writer(target.tenant), catalog, limits)

    policy = AddressPolicy(
        allow_loopback=settings.collect.allow_loopback,
        refused_networks=[ipaddress.ip_network(net) for net in settings.collect.refuse_networks],
        own_listeners=[
            (listen.host, listen.port) for listen in (settings.server.listen, settings.admin.listen)
        ],
    )
    return Collector(
        settings.server.regions,
        Collaborators(control.inventory, open_session, host_metrics.page, clock),
        policy,
        CollectSettings(fetch=FetchSettings(page_bytes_max=settings.collect.page_bytes_max)),
    )
