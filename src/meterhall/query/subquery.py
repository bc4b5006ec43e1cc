"""Subqueries: an instant vector over an inner grid becomes the samples of a range vector.

The inner grid is aligned to absolute time, as in promql/engine.go: the first inner step is the least
multiple of the resolution after the earliest window's start.
"""

from collections.abc import Iterator

import numpy as np

from meterhall.model.samples import ABSENT, SeriesGroup, TimestampArray
from meterhall.model.stack import stacked
from meterhall.promql.nodes import SubqueryExpr
from meterhall.query.budget import Budget
from meterhall.query.frame import Frame, Steps
from meterhall.query.selectors import RangeVector


def inner_steps(
    node: SubqueryExpr, ends: TimestampArray, outer: Steps, default_step_ms: int
) -> Steps:
    """The grid on which the inner expression is evaluated; it may be empty.

    Where `@` pins the subquery but its function asks for every step of `outer`, Prometheus evaluates as
    much beyond the window as the outer grid is long. Nothing sees it but errors and annotations.
    """
    last_ms = int(ends[0]) + outer.end_ms - outer.start_ms
    step_ms = node.step_ms or default_step_ms
    start_ms = step_ms * ((int(ends[0]) - node.range_ms) // step_ms + 1)
    count = max(0, (last_ms - start_ms) // step_ms + 1)
    return Steps(start_ms, step_ms, count)


def as_range(
    frame: Frame, inner: Steps, ends: TimestampArray, range_ms: int, budget: Budget
) -> RangeVector:
    """The points of `frame` as samples under windows of `range_ms` that end at `ends`."""
    groups = list(_groups(frame, inner))
    return RangeVector(
        list(frame.labels),
        lambda: stacked(groups),
        ends,
        range_ms,
        budget,
        ends,
        range_ms,
    )


def _groups(frame: Frame, inner: Steps) -> Iterator[SeriesGroup]:
    times = inner.times()
    rows = np.arange(len(frame.labels))
    if frame.present is None:
        yield SeriesGroup(rows, times, frame.values, full=True)
        return
    whole = frame.present.all(axis=1)
    if whole.any():
        yield SeriesGroup(rows[whole], times, frame.values[whole], full=True)
    if not whole.all():
        holes = ~whole
        values = np.where(frame.present[holes], frame.values[holes], ABSENT)
        yield SeriesGroup(rows[holes], times, values, full=False)
