"""Random well-typed queries, as text, and small data with every oddity; for `promql_diff --fuzz`."""

import random
from collections.abc import Iterator

import numpy as np

from bench.promlabs_data import Entry, Sample
from meterhall.model.labels import make_labels
from meterhall.model.samples import NAN, STALE

OVER_TIME = [
    *(f"{name}_over_time" for name in ("avg", "min", "max", "sum", "count", "stddev", "stdvar")),
    *(f"{name}_over_time" for name in ("last", "present")),
    *("rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets"),
]
ELEMENTWISE = ["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "round"]
ELEMENTWISE += ["sin", "cos", "atan", "deg", "rad", "minute", "hour", "day_of_week", "month"]
ELEMENTWISE += ["timestamp", "sort", "absent", "year", "days_in_month", "day_of_year"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISON = ["==", "!=", "<", "<=", ">", ">="]


def odd_series(end_ms: int, rng: np.random.Generator) -> Iterator[Entry]:
    """Counters with resets, gaps, staleness, NaN, infinities, tiny and huge values, histograms."""
    count = 200
    for index in range(24):
        interval = (5_000, 15_000, 30_000)[index % 3]
        times = end_ms - interval * np.arange(count, 0, -1) + int(rng.integers(0, interval))
        name = ("c_total", "g", "odd", "huge")[index % 4]
        labels = {"__name__": name, "i": str(index // 8), "j": "xyz"[index % 3]}
        if index % 5 == 0:
            labels["k"] = "only"
        values = _values(name, count, rng)
        kept = rng.random(count) > 0.1
        yield make_labels(labels), _samples(times[kept], values[kept], rng)
    for index in range(2):
        times = end_ms - 15_000 * np.arange(count, 0, -1) + index * 1_000
        counts = np.cumsum(rng.integers(0, 4, (count, 5)), axis=0).cumsum(axis=1).astype(float)
        if index:
            counts[count // 2 :] -= counts[count // 2]
            counts[::7, 2] -= 5
        for column, bound in enumerate(("0.1", "0.5", "1", "5", "+Inf")):
            labels = {"__name__": "h_bucket", "le": bound, "i": str(index)}
            yield make_labels(labels), _samples(times, counts[:, column], None)


def _values(name: str, count: int, rng: np.random.Generator) -> np.ndarray:
    if name == "c_total":
        values = np.cumsum(rng.integers(0, 10, count)).astype(float)
        for reset in rng.integers(0, count, 3):
            values[reset:] -= values[reset]
        return values
    if name == "g":
        return rng.normal(0, 10, count).round(2)
    if name == "odd":
        choices = [0.0, -0.0, 1.0, -1.0, 2.0, NAN, np.inf, -np.inf, 0.1]
        return rng.choice(choices, count, p=[0.2, 0.05, 0.3, 0.1, 0.2, 0.03, 0.02, 0.02, 0.08])
    # No two alike: sums that cancel depend on the order in the store.
    return rng.choice([1e300, -1e300, 9.9e307, -9.9e307], count) * rng.uniform(0.5, 1, count)


def _samples(
    times: np.ndarray, values: np.ndarray, rng: np.random.Generator | None
) -> list[Sample]:
    found = list(zip(times.tolist(), values.tolist(), strict=True))
    if rng is not None:
        for index in rng.integers(0, len(found), 4).tolist():
            found[index] = (found[index][0], STALE)
    return found


class Generator:
    """Queries from one seed; `end_ms` is where `@` points around."""

    def __init__(self, seed: int, end_ms: int) -> None:
        self._random = random.Random(seed)
        self._end_s = end_ms // 1000

    def query(self) -> str:
        """One query of up to four levels."""
        return self._vector(self._random.randint(1, 4))

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _modifiers(self) -> str:
        offset = self._pick("", "", "", "", " offset 1m", " offset -17s", " offset 7s")
        at = self._pick("", "", "", "", "", f" @ {self._end_s - 100}", " @ start()", " @ end()")
        return offset + at

    def _bare(self) -> str:
        name = self._pick(
            "c_total", "g", "odd", "huge", "h_bucket", '{__name__=~"g|odd"}', "c_total"
        )
        if name.startswith("{"):
            return name
        matcher = self._pick("", "", "", '{i="1"}', '{j!="x"}', '{k=""}', '{i=~"0|2"}')
        return name + matcher

    def _range(self, depth: int) -> str:
        span = self._pick("10s", "1m", "5m", "47s", "100ms")
        if depth <= 0 or self._random.random() < 0.7:
            return f"{self._bare()}[{span}]{self._modifiers()}"
        step = self._pick("", "10s", "7s", "1m")
        return f"({self._vector(depth - 1)})[{span}:{step}]{self._modifiers()}"

    def _scalar(self, depth: int) -> str:
        plain = self._pick("0", "1", "2", "0.5", "-1", "3.7", "NaN", "Inf", "1e-3", "100", "pi()")
        kind = self._random.random()
        if depth <= 0 or kind < 0.6:
            return plain
        if kind < 0.75:
            return f"scalar({self._vector(depth - 1)})"
        if kind < 0.85:
            return "time()"
        return f"({plain} {self._pick(*ARITHMETIC)} {self._scalar(depth - 1)})"

    def _vector(self, depth: int) -> str:
        if depth <= 0:
            return self._bare() + self._modifiers()
        return self._random.choice(
            [
                self._over_time,
                self._over_time,
                self._elementwise,
                self._aggregate,
                self._aggregate,
                self._binary,
                self._binary,
                self._with_scalar,
                self._special,
            ]
        )(depth - 1)

    def _over_time(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.1:
            return f"quantile_over_time({self._scalar(depth)}, {self._range(depth)})"
        if kind < 0.2:
            return f"predict_linear({self._range(depth)}, {self._scalar(depth)})"
        return f"{self._pick(*OVER_TIME)}({self._range(depth)})"

    def _elementwise(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.1:
            return f"-{self._vector(depth)}"
        if kind < 0.2:
            return f"clamp({self._vector(depth)}, {self._scalar(depth)}, {self._scalar(depth)})"
        if kind < 0.3:
            bound = self._pick("clamp_min", "clamp_max", "round")
            return f"{bound}({self._vector(depth)}, {self._scalar(depth)})"
        return f"{self._pick(*ELEMENTWISE)}({self._vector(depth)})"

    def _grouping(self) -> str:
        return self._pick(
            "", " by (i)", " by (j, k)", " without (i)", " without (j, k)", " by (le)"
        )

    def _aggregate(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.15:
            op = self._pick("topk", "bottomk", "quantile")
            # Which of equal elements are picked depends on the order in the store: avoid equals.
            operand = self._vector(depth) if op == "quantile" else self._pick("g", "deriv(g[5m])")
            return f"{op}{self._grouping()} ({self._scalar(depth)}, {operand})"
        if kind < 0.2:
            return f'count_values{self._grouping()} ("v", {self._vector(depth)})'
        return f"{self._pick(*AGGREGATIONS)}{self._grouping()} ({self._vector(depth)})"

    def _binary(self, depth: int) -> str:
        left, right = self._vector(depth), self._vector(depth)
        on = self._pick("", "", "on(i, j)", "on(i)", "ignoring(k)", "ignoring(j)", "on()")
        kind = self._random.random()
        if kind < 0.3:
            return f"({left}) {self._pick('and', 'or', 'unless')} {on} ({right})"
        op = self._pick(*ARITHMETIC, *COMPARISON)
        flag = " bool" if op in COMPARISON and self._random.random() < 0.5 else ""
        side = ""
        if on and self._random.random() < 0.5:
            side = self._pick("group_left()", "group_right()", "group_left(k)", "group_right(k)")
        return f"({left}) {op}{flag} {on} {side} ({right})"

    def _with_scalar(self, depth: int) -> str:
        op = self._pick(*ARITHMETIC, *COMPARISON)
        flag = " bool" if op in COMPARISON and self._random.random() < 0.5 else ""
        sides = [f"({self._vector(depth)})", f"({self._scalar(depth)})"]
        self._random.shuffle(sides)
        return f"{sides[0]} {op}{flag} {sides[1]}"

    def _special(self, depth: int) -> str:
        # histogram_fraction is left out: 3.5 gives NaN for what 3.14 can answer.
        kind = self._random.choice((0, 2, 3, 4))
        if kind == 0:
            return f"histogram_quantile({self._scalar(depth)}, {self._buckets(depth)})"
        if kind == 2:
            return f'label_replace({self._vector(depth)}, "n", "$1-$2", "j", "(.)(.?)")'
        if kind == 3:
            return f'label_join({self._vector(depth)}, "i", "-", "i", "j", "nope")'
        return f"vector({self._scalar(depth)})"

    def _buckets(self, depth: int) -> str:
        plain = self._pick("h_bucket", "rate(h_bucket[1m])", "sum by (le) (h_bucket)")
        return plain if self._random.random() < 0.8 else self._vector(depth)
