"""The store read back the way tests ask: samples of one metric, and what an instant query would see."""

import numpy as np

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import ABSENT_BITS, STALE_BITS

EVER = (-(2**62), 2**62)
LOOKBACK_MS = 300_000


def samples(store, tenant, name):
    """{labels without the name: [(time_ms, value | "stale")]} of a metric."""
    matcher = Matcher(MatchOp.EQUAL, "__name__", name)
    selection = store.reader(tenant).select([matcher], *EVER)
    labels = [dict(pairs) for pairs in selection.labels]
    found = {}
    for group in selection.groups():
        bits = group.values.view(np.uint64)
        for row, series in enumerate(group.rows):
            rest = {k: v for k, v in labels[series].items() if k != "__name__"}
            found[tuple(sorted(rest.items()))] = [
                (int(time), "stale" if bits[row, i] == STALE_BITS else float(group.values[row, i]))
                for i, time in enumerate(group.times)
                if bits[row, i] != ABSENT_BITS
            ]
    return found


def latest(store, tenant, name, at_ms):
    """What an instant query would answer: {labels: value}, stale series left out."""
    newest = {}
    for labels, points in samples(store, tenant, name).items():
        seen = [point for point in points if at_ms - LOOKBACK_MS < point[0] <= at_ms]
        if seen and seen[-1][1] != "stale":
            newest[labels] = seen[-1][1]
    return newest
