"""What series take in a block: bytes of their values, and their part of what describes them."""

import numpy as np
from numpy.typing import NDArray

from meterhall.tsdb.block import TenantBlock


def series_bytes(here: TenantBlock) -> NDArray[np.float64]:
    """Bytes of each series of one owner in one block, in the order of the block.

    A page's bytes are shared out by sample, those of the description (which is there twice) by series.
    """
    pages = here.pages
    page_of = np.repeat(np.arange(len(pages)), pages["series"])
    in_page = np.maximum(np.bincount(page_of, weights=here.lengths, minlength=len(pages)), 1)
    values = here.lengths * (pages["bytes"] / in_page)[page_of]
    entry = here.entry
    description = 2 * (entry.index.bytes + entry.clocks.bytes + entry.pages.bytes)
    return np.asarray(values + description / max(1, entry.series), np.float64)
