"""A SampleWriter in memory that keeps the promises of ports/append.py, and tells what it was given."""

from concurrent.futures import Future

import numpy as np

from meterhall.model.errors import StoreUnavailable
from meterhall.model.samples import OUT_OF_ORDER, REFUSED, Rejection
from meterhall.ports.append import Appended


class RecordingWriter:
    """`samples[labels]` is {time: value bits}; `appends` is the list of row lists, as they came."""

    def __init__(self):
        self.refs = {}
        self.labels = {}
        self.clocks = {}
        self.samples = {}
        self.appends = []
        self.forget_next = set()
        self.forgotten = set()
        self.unavailable = False
        self.durable = None
        self._next = 1

    def intern(self, clock, series, series_max=None):
        out = []
        for labels in series:
            assert type(labels) is tuple
            assert list(labels) == sorted(labels), labels
            assert len({name for name, _ in labels}) == len(labels)
            assert all(value for _, value in labels)
            if labels not in self.refs and series_max is not None and len(self.refs) >= series_max:
                out.append(REFUSED)
                continue
            if labels not in self.refs:
                self.refs[labels] = self._next
                self.labels[self._next] = labels
                self.clocks[labels] = clock
                self._next += 1
            out.append(self.refs[labels])
        return np.array(out, np.int64)

    def forget(self, labels):
        self.forgotten.add(self.refs.pop(labels))

    def append(self, rows, *, any_age=False):
        if self.unavailable:
            raise StoreUnavailable("disk full")
        self.appends.append(list(rows))
        accepted, rejections, forgotten = 0, [], set()
        for row in rows:
            assert len(set(row.refs.tolist())) == len(row.refs) == len(row.values)
            assert row.refs.dtype == np.int64
            assert REFUSED not in row.refs
            assert row.values.dtype == np.float64
            bits = row.values.view(np.uint64).tolist()
            for ref, value, bit in zip(row.refs.tolist(), row.values.tolist(), bits, strict=True):
                if ref in self.forgotten:
                    forgotten.add(ref)
                    continue
                known = self.samples.setdefault(self.labels[ref], {})
                if known.get(row.time_ms, bit) != bit:
                    reason = f"duplicate sample for timestamp {row.time_ms}; overrides not allowed: existing x, new value {value}"
                    rejections.append(Rejection(ref, row.time_ms, value, reason))
                elif row.time_ms < 0:
                    rejections.append(Rejection(ref, row.time_ms, value, OUT_OF_ORDER))
                else:
                    known[row.time_ms] = bit
                    accepted += 1
        durable = Future()
        if self.durable is None:
            durable.set_result(None)
        return Appended(accepted, rejections, sorted(forgotten), self.durable or durable)

    def values(self, **labels):
        """{time: value} of the series with just these labels, or the one that has them among others."""
        wanted = {("__name__" if name == "metric" else name): labels[name] for name in labels}
        found = [tuple(sorted(wanted.items()))]
        if found[0] not in self.samples:
            found = [known for known in self.samples if wanted.items() <= dict(known).items()]
        assert len(found) == 1, (labels, found)
        return {time: as_seen(bits) for time, bits in self.samples[found[0]].items()}


def as_seen(bits):
    if bits == 0x7FF0000000000002:
        return "stale"
    if bits == 0x7FF8000000000001:
        return "nan"
    return float(np.array([bits], np.uint64).view(np.float64)[0])
