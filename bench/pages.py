"""How fast pages are read: a node_exporter's page for the first time, and again and again with new numbers.

With the interpreter's settings of the service. With Python's own, the garbage collector walks whatever this process has
imported, and takes most of the time.
"""

import time
from collections.abc import Callable

from bench.dataset import DataSet
from bench.exposition import fleet_page, host_page
from bench.table import Table, figure
from meterhall.app.process import tune
from meterhall.wire.page import PageReader

_TEXT = "text/plain; version=0.0.4"
_SAMPLES_MAX = 100_000
_SECONDS = 2.0
_SCRAPES = 8


def run(data: DataSet) -> Table:
    """Pages of one host, and of all hosts together."""
    tune()
    rows = []
    for title, make in (("one host", host_page), (f"{data.hosts} hosts", fleet_page)):
        pages = [make(data, scrape) for scrape in range(_SCRAPES)]
        samples = len(PageReader(_SAMPLES_MAX).read(pages[0], _TEXT).values)
        reader = PageReader(_SAMPLES_MAX)
        for reading, read in (
            ("first", lambda page: PageReader(_SAMPLES_MAX).read(page, _TEXT)),
            ("repeated", lambda page, reader=reader: reader.read(page, _TEXT)),
        ):
            seconds = _seconds_a_page(read, pages)
            size = f"{len(pages[0]):,}"
            cpu = seconds / samples * 1e6
            rows.append([title, reading, str(samples), size, *map(figure, (1 / seconds, cpu))])
    heads = ["page", "reading", "samples", "bytes", "pages/s", "CPU s per million samples"]
    notes = ["What a whole scrape costs us and the peers is in the table of the scrapes."]
    return Table("Reading pages, in one thread", heads, rows, notes)


def _seconds_a_page(read: Callable[[bytes], object], pages: list[bytes]) -> float:
    """Processor seconds; whole rounds over all pages until it has taken a while."""
    for page in pages:
        read(page)
    count, begun, started = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        for page in pages:
            read(page)
        count += len(pages)
    return (time.process_time() - begun) / count
