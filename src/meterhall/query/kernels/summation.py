"""Sums and means as Prometheus takes them: Kahan-Neumaier, and means that do not overflow.

Adding in extended precision and rounding once gives the same double wherever the terms do not cancel
much. Cells where they might (or where infinities and NaN decide) are found by comparing with the sum of
magnitudes, and only those are summed again, term by term, as promql/functions.go does it.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ValueArray
from meterhall.query.kernels.windows import BoolArray, IndexArray, Windows

Extended = NDArray[np.longdouble]

# A sum below this share of its magnitudes may have lost more bits than extended precision spares.
_CANCELLATION = 2.0**-8
# Magnitudes above this may overflow a double on the way, which decides the result.
_OVERFLOW = 1e307

# The k-th terms of many sums, and which of the sums have a k-th term (None: all).
Terms = Iterable[tuple[ValueArray, BoolArray | None]]


def kahan_add(
    term: ValueArray, total: ValueArray, carry: ValueArray
) -> tuple[ValueArray, ValueArray]:
    """One step of Neumaier's sum: the new total and the new carry."""
    new = total + term
    swap = np.abs(total) >= np.abs(term)
    lost = np.where(swap, (total - new) + term, (term - new) + total)
    return new, np.where(np.isinf(new), 0.0, carry + lost)


def kahan_sum(terms: Terms, shape: tuple[int, ...]) -> ValueArray:
    """Sums term by term, each from zero."""
    total, carry = np.zeros(shape), np.zeros(shape)
    for term, live in terms:
        new, lost = kahan_add(term, total, carry)
        if live is None:
            total, carry = new, lost
        else:
            total, carry = np.where(live, new, total), np.where(live, lost, carry)
    return total + carry


def kahan_mean(terms: Terms, shape: tuple[int, ...]) -> ValueArray:
    """Means term by term: a Kahan sum, or from where that overflows a running mean."""
    total, carry = np.zeros(shape), np.zeros(shape)
    count = np.zeros(shape)
    running = np.zeros(shape, np.bool_)
    for term, live in terms:
        active = np.ones(shape, np.bool_) if live is None else np.broadcast_to(live, shape)
        count = count + active
        new, lost = kahan_add(term, total, carry)
        overflown = active & ~running & np.isinf(new) & (count > 1)
        total = np.where(overflown, total / (count - 1), total)
        carry = np.where(overflown, carry / (count - 1), carry)
        running = running | overflown
        share = (count - 1) / count
        mean, mean_lost = kahan_add(term / count, share * total, share * carry)
        total = np.where(active, np.where(running, mean, new), total)
        carry = np.where(active, np.where(running, mean_lost, lost), carry)
    return np.where(running, total + carry, total / count + carry / count)


def doubtful(total: Extended, magnitude: Extended) -> BoolArray:
    """Where an extended sum may differ from Prometheus' in more than its last bit."""
    return ~((np.abs(total) >= _CANCELLATION * magnitude) & (magnitude < _OVERFLOW))


def window_sums(windows: Windows) -> ValueArray:
    """sum_over_time of every window."""
    return _window_totals(windows, lambda total, _: total, kahan_sum)


def window_means(windows: Windows) -> ValueArray:
    """avg_over_time of every window."""
    return _window_totals(windows, lambda total, count: total / count, kahan_mean)


def _window_totals(
    windows: Windows,
    finish: Callable[[Extended, IndexArray], Extended],
    exact: Callable[[Terms, tuple[int, ...]], ValueArray],
) -> ValueArray:
    total, magnitude = _extended_totals(windows)
    count = np.broadcast_to(windows.count, windows.shape)
    # A sum begins at zero, which turns a negative zero into a positive one.
    result = finish(total, count).astype(np.float64) + 0.0
    unsure = doubtful(total, magnitude) & (count > 0)
    if unsure.any():
        _redo(windows, unsure, result, exact)
    return result


def _extended_totals(windows: Windows) -> tuple[Extended, Extended]:
    """Sums of all windows, and what their rounding errors are in proportion to."""
    extended = windows.values.astype(np.longdouble)
    finite = np.isfinite(windows.values).all()
    running = None
    if finite and not np.signbit(windows.values).any():
        running = windows.running(extended)
    if running is not None:
        # Without cancellation inside a window, differences of running sums are exact enough where the
        # window is not tiny against all before it.
        until = windows.pick(running, windows.hi - 1)
        total = until - windows.pick(running - extended, windows.lo)
        vanished = total == 0
        if vanished.any():
            # Either all zeros, which is exact, or so small that the running sum swallowed it.
            zeros = windows.reduce(np.maximum, windows.values) == 0
            until = np.where(vanished & zeros, 0, until)
        return total, until
    total = windows.reduce(np.add, extended)
    return total, windows.reduce(np.add, np.abs(extended))


def _redo(
    windows: Windows,
    cells: BoolArray,
    result: ValueArray,
    exact: Callable[[Terms, tuple[int, ...]], ValueArray],
) -> None:
    """Sum the windows of `cells` again, term by term, into `result`."""
    chosen = windows.chosen(cells)
    terms = ((chosen.values[index], live) for index, live in chosen.each())
    result[chosen.row, chosen.step] = exact(terms, chosen.lo.shape)
