"""Every function that the evaluator knows, by name. Signatures live in `promql.signatures`."""

from meterhall.query.frame import Value
from meterhall.query.functions.elementwise import ELEMENTWISE, go_max, go_min
from meterhall.query.functions.histograms import HISTOGRAMS
from meterhall.query.functions.info import INFO
from meterhall.query.functions.invocation import Function, Invocation
from meterhall.query.functions.labels import LABELS
from meterhall.query.functions.over_time import OVER_TIME
from meterhall.query.functions.rates import RATES
from meterhall.query.functions.sorting import SORTING
from meterhall.query.functions.times import TIMES


def _max_of(call: Invocation) -> Value:
    return go_max(call.scalar(0), call.scalar(1))


def _min_of(call: Invocation) -> Value:
    return go_min(call.scalar(0), call.scalar(1))


FUNCTIONS: dict[str, Function] = {
    **ELEMENTWISE,
    **HISTOGRAMS,
    **INFO,
    **LABELS,
    **OVER_TIME,
    **RATES,
    **SORTING,
    **TIMES,
    "max_of": _max_of,
    "min_of": _min_of,
}
