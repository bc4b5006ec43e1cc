"""Scrapes for tests of the spool and what stands on it."""

from meterhall.agent.spool_format import SpooledScrape
from meterhall.wire.agent_report import FailedScrape, SplitPage, WholePage, shape_id, split_page

FAILED = FailedScrape("connect_error", "connection refused", 0)
T0 = 1_700_000_000_000


def whole(number, target_id="t", body=None, **changes):
    """A page that is kept as it came."""
    page = WholePage("text/plain", f"a {number}\n".encode() if body is None else body)
    return SpooledScrape(target_id, T0 + number, 0.25, page, **changes)


def failed(number, **changes):
    return SpooledScrape("t", T0 + number, 0.25, FAILED, **changes)


def split(number, page=None, target_id="t"):
    """(scrape, shape) of a page of which only the words are kept."""
    shape, words = split_page(f'a{{b="c"}} {number}\n'.encode() if page is None else page)
    outcome = SplitPage("text/plain", shape_id(shape), words, None)
    return SpooledScrape(target_id, T0 + number, 0.25, outcome), shape
