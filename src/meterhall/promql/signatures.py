"""Every function of PromQL: arguments, result, and whether it is experimental.

The table of Prometheus 3.14's promql/parser/functions.go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from meterhall.promql.nodes import ValueType

EXPERIMENTAL_FUNCTIONS = "promql-experimental-functions"
EXTENDED_RANGES = "promql-extended-range-selectors"
FILL_MODIFIERS = "promql-binop-fill-modifiers"
ALL_FEATURES = frozenset((EXPERIMENTAL_FUNCTIONS, EXTENDED_RANGES, FILL_MODIFIERS))


@dataclass(frozen=True, slots=True)
class Signature:
    """One function. `variadic` is Prometheus': 0 takes exactly `args`; n > 0 makes the last of `args` optional and
    lets it occur up to n times; -1 makes it optional and lets it occur any number of times.
    """

    name: str
    args: tuple[ValueType, ...]
    result: ValueType
    variadic: int = 0
    experimental: bool = False


_TYPES = {
    "s": ValueType.SCALAR,
    "v": ValueType.VECTOR,
    "m": ValueType.MATRIX,
    "t": ValueType.STRING,
}

# Argument letters (s scalar, v instant vector, m range vector, t string), `*n` for variadic, result, names.
_VECTOR_OF_VECTOR = (
    "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count "
    "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp"
)
_VECTOR_OF_RANGE = (
    "absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time "
    "max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time sum_over_time"
)
_STABLE = (
    ("v", 0, "v", _VECTOR_OF_VECTOR),
    ("m", 0, "v", _VECTOR_OF_RANGE),
    ("v", 1, "v", "day_of_month day_of_week day_of_year days_in_month hour minute month year"),
    ("vss", 0, "v", "clamp"),
    ("vs", 0, "v", "clamp_max clamp_min"),
    ("ssv", 0, "v", "histogram_fraction"),
    ("sv", 0, "v", "histogram_quantile"),
    ("vttt", -1, "v", "label_join"),
    ("vtttt", 0, "v", "label_replace"),
    ("ms", 0, "v", "predict_linear"),
    ("sm", 0, "v", "quantile_over_time"),
    ("vs", 1, "v", "round"),
    ("v", 0, "s", "scalar"),
    ("s", 0, "v", "vector"),
    ("", 0, "s", "pi time"),
)
_EXPERIMENTAL = (
    ("mss", 0, "v", "double_exponential_smoothing"),
    (
        "m",
        0,
        "v",
        "first_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
    ),
    ("vtss", 9, "v", "histogram_quantiles"),
    ("vv", 1, "v", "info"),
    ("vt", -1, "v", "sort_by_label sort_by_label_desc"),
    ("v", 0, "v", "start_timestamp"),
    ("ss", 0, "s", "max_of min_of"),
    ("", 0, "s", "end range start step"),
)


def _signatures() -> Iterator[Signature]:
    for rows, experimental in ((_STABLE, False), (_EXPERIMENTAL, True)):
        for letters, variadic, result, names in rows:
            args = tuple(_TYPES[letter] for letter in letters)
            for name in names.split():
                yield Signature(name, args, _TYPES[result], variadic, experimental)


FUNCTIONS: dict[str, Signature] = {signature.name: signature for signature in _signatures()}
