"""Random queries, as text, over the series of `odd_data`; for `promql_diff --fuzz`.

Nearly all are well typed. One in twenty is wrong somewhere, so that refusals are compared too.
"""

import random
from collections.abc import Callable

# Behind a feature that the Prometheus compared with has as well.
EXPERIMENTAL_OVER_TIME = [f"ts_of_{which}_over_time" for which in ("last", "max", "min")]
OVER_TIME = [
    *(f"{name}_over_time" for name in ("avg", "min", "max", "sum", "count", "stddev", "stdvar")),
    *(f"{name}_over_time" for name in ("last", "present", "absent")),
    *("rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets"),
    *("rate", "increase", "sum_over_time", "avg_over_time"),
    *EXPERIMENTAL_OVER_TIME,
]
ELEMENTWISE = [
    "abs",
    "ceil",
    "floor",
    "exp",
    "sqrt",
    "ln",
    "log2",
    "log10",
    "sgn",
    "round",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "deg",
    "rad",
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "timestamp",
    "sort",
    "sort_desc",
    "absent",
    "histogram_avg",
    "histogram_count",
    "histogram_sum",
    "histogram_stddev",
    "histogram_stdvar",
]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISON = ["==", "!=", "<", "<=", ">", ">="]
NAMES = ["c_total", "c_total", "g", "odd", "huge", "tiny", "state", "sparse", "h_bucket", "nope"]
BRACES = ['{__name__=~"g|odd"}', '{__name__=~"c_.+|state",i="1"}', '{i="2",__name__!="h_bucket"}']
BRACES += ['{"g"}', '{"state", j="x"}', '{__name__=~"(g|state)"}']
MATCHERS = ["", "", "", "", '{i="1"}', '{j!="x"}', '{k=""}', '{i=~"0|2"}', "{j=~'x|y',k!~`o.*`}"]
MATCHERS += [
    '{i="1",}',
    '{j=~".*"}',
    '{j=~".+"}',
    '{nope=""}',
    '{"i"="0"}',
    "{j='\\x78'}",
    '{i=~"0|2",i!="0"}',
]
SPANS = [
    "10s",
    "1m",
    "5m",
    "47s",
    "100ms",
    "1m30s",
    "90",
    "1e2",
    "10m",
    "1s",
    "5m1ms",
    "0x20",
    "(1m+30s)",
]
SPANS += ["1m", "5m", "2*30s"]
NUMBERS = [
    "0",
    "1",
    "2",
    "0.5",
    "-1",
    "3.7",
    "NaN",
    "Inf",
    "-Inf",
    "1e-3",
    "100",
    "pi()",
    ".5",
    "5.",
    "0x1F",
    "1e3",
    "+Inf",
    "nan",
    "inf",
    "1_000",
    "1m30s",
    "0b101",
    "017",
    "2.5e-3",
    "1e300",
    "5e-324",
    "-0",
    "0.1",
    "0.25",
    "0.99",
    "+2",
    "--1",
]
TEXTS = ['"$1-$2"', '""', '"const"', "'$0'", "`${1}x`", '"$2"', '"$n"', '"\\u00e9"', '"$1$1"']
PATTERNS = ['"(.)(.?)"', '".*"', '"x|y"', '"(?P<n>.+)"', '""', '"x(.*)"', '"(.*)"']
LABELS = ['"i"', '"j"', '"k"', '"n"', '"__name__"', '"nope"', '"le"', '"dst.x"']
# Every one of these is refused, by the parser or by the type check.
WRONG = [
    "rate({0})", "sum(1)", "{0} and 1", "{0} + bool 1", "1 > 2", "({0})[5m]", "abs(1)", "abs()", "foo({0})",
    "sum by i ({0})", "{0} + on(i) group_left group_right ({0})", "{0} and on(i) group_left() {0}", "{{}}",
    '{{i=~".*"}}', "{0}[5m] offset", "topk({0})", "count_values(1, {0})", "clamp({0}, 1)", '"a" + 1', "-'a'",
    "{0} offset 1m offset 2m", "{0} @ 1 @ 2", "rate({0}[0s])", "label_replace({0}, 'a', 'b', 'c', '(')",
    "label_replace({0}, '', 'b', 'i', '.*')", "label_join({0}, '', '-', 'i')", "({0}", "{0})", "{0} {0}", "sum({0}) by (i) without (j)",
    "rate({0}[1m:] )[5m]", "{0}[1m][1m]", "time()[5m]", "scalar({0}[1m])", "vector({0})", "1 + ", "+ * {0}",
    "count_values('', {0})", "quantile_over_time(1, {0})", "{0} offset x", "{0} @ end", "sum({0}, 1)", "== {0}",
    "{0} == bool on(i) bool {0}", 'g{{i="1"', "g{{i=}}", "g{{i=~1}}", "g{{1=\"i\"}}", "by", "sum by (i, i,) ({0}) x", "'abc", "1.5.5", "5x", "0x", "1e",
    "{0}[5m]", "{0}[5m:10s]", "'text'",
]  # fmt: skip


class Generator:
    """Queries from one seed; `end_ms` is where `@` points around."""

    def __init__(self, seed: int, end_ms: int) -> None:
        self._random = random.Random(seed)
        self._end_s = end_ms // 1000
        self._kinds: list[tuple[Callable[[int], str], int]] = [
            (self._over_time, 22),
            (self._elementwise, 12),
            (self._aggregate, 20),
            (self._binary, 20),
            (self._with_scalar, 12),
            (self._histogram, 8),
            (self._label_function, 6),
            (self._other, 4),
        ]

    def query(self) -> str:
        """One query of up to four levels."""
        if self._random.random() < 0.05:
            wrong = self._random.choice(WRONG).format(self._bare())
            return self._pick(wrong, wrong, f"sum({wrong})", f"{wrong} + 1")
        if self._random.random() < 0.03:
            return self._scalar(3)
        return self._vector(self._random.randint(0, 4))

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _modifiers(self) -> str:
        offset = self._pick(
            *[""] * 6, " offset 1m", " offset -17s", " offset 7s", " offset 5m", " offset (1m-30s)"
        )
        at = self._pick(
            *[""] * 8,
            f" @ {self._end_s - 100}",
            " @ start()",
            " @ end()",
            f" @ {self._end_s - 7}.25",
            " @ 0",
        )
        return self._pick(offset + at, at + offset)

    def _bare(self) -> str:
        if self._random.random() < 0.1:
            return self._pick(*BRACES)
        return self._pick(*NAMES) + self._pick(*MATCHERS)

    def _range(self, depth: int) -> str:
        span = self._pick(*SPANS)
        if depth <= 0 or self._random.random() < 0.65:
            return f"{self._bare()}[{span}]{self._modifiers()}"
        step = self._pick("", "10s", "7s", "1m", "30")
        return f"({self._vector(depth - 1)})[{span}:{step}]{self._modifiers()}"

    def _scalar(self, depth: int) -> str:
        plain = self._pick(*NUMBERS)
        kind = self._random.random()
        if depth <= 0 or kind < 0.6:
            return plain
        if kind < 0.72:
            return f"scalar({self._vector(depth - 1)})"
        if kind < 0.8:
            return "time()"
        if kind < 0.85:
            return f"-{self._scalar(depth - 1)}"
        if kind < 0.9:
            op = self._pick(*COMPARISON)
            return f"({plain} {op} bool {self._scalar(depth - 1)})"
        return f"({plain} {self._pick(*ARITHMETIC)} {self._scalar(depth - 1)})"

    def _vector(self, depth: int) -> str:
        if depth <= 0:
            return self._bare() + self._modifiers()
        kinds, weights = zip(*self._kinds, strict=True)
        return self._random.choices(kinds, weights)[0](depth - 1)

    def _over_time(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.1:
            return f"quantile_over_time({self._scalar(depth)}, {self._range(depth)})"
        if kind < 0.17:
            return f"predict_linear({self._range(depth)}, {self._scalar(depth)})"
        if kind < 0.22:
            factors = self._pick("0.5, 0.5", "0.01, 0.9", "1, 1", "0, 0", "0.3, 1e-3")
            return f"double_exponential_smoothing({self._range(depth)}, {factors})"
        if kind < 0.24:
            # Of values without NaN, for which 3.14 alone answers NaN.
            return f"mad_over_time({self._pick('g', 'state')}[{self._pick(*SPANS)}])"
        return f"{self._pick(*OVER_TIME)}({self._range(depth)})"

    def _elementwise(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.1:
            return f"{self._pick('-', '+', '--')}{self._vector(depth)}"
        if kind < 0.2:
            return f"clamp({self._vector(depth)}, {self._scalar(depth)}, {self._scalar(depth)})"
        if kind < 0.3:
            bound = self._pick("clamp_min", "clamp_max", "round")
            return f"{bound}({self._vector(depth)}, {self._scalar(depth)})"
        return f"{self._pick(*ELEMENTWISE)}({self._vector(depth)})"

    def _grouping(self) -> str:
        names = self._pick(
            "i", "j, k", "le", "", "__name__", "i, j", "nope", "kind", '"i", j', "i,"
        )
        return self._pick("", "", f" by ({names})", f" without ({names})", f" by ({names})")

    def _aggregate(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.15:
            op = self._pick("topk", "bottomk", "quantile", "limitk")
            operand = self._vector(depth)
            if op in ("topk", "bottomk") and self._random.random() < 0.5:
                operand = self._pick("g", "state", "deriv(g[5m])", "odd", "c_total")
            return f"{op}{self._grouping()} ({self._scalar(depth)}, {operand})"
        if kind < 0.2:
            label = self._pick('"v"', '"i"', '"le"', "'v.x'")
            return f"count_values{self._grouping()} ({label}, {self._vector(depth)})"
        op, grouping, operand = self._pick(*AGGREGATIONS), self._grouping(), self._vector(depth)
        return self._pick(f"{op}{grouping} ({operand})", f"{op}({operand}){grouping}")

    def _binary(self, depth: int) -> str:
        left, right = self._vector(depth), self._vector(depth)
        if self._random.random() < 0.25:
            right = left
        on = self._pick(
            "", "", "", "on(i, j)", "on(i)", "ignoring(k)", "ignoring(j)", "on()", "ignoring()",
            "on(__name__)", "ignoring(__name__, k)", "on(i, j, k)", "ignoring(le)", "on(nope)"
        )  # fmt: skip
        if self._random.random() < 0.3:
            return f"({left}) {self._pick('and', 'or', 'unless')} {on} ({right})"
        op = self._pick(*ARITHMETIC, *COMPARISON)
        flag = " bool" if op in COMPARISON and self._random.random() < 0.5 else ""
        side = ""
        if on and self._random.random() < 0.5:
            side = self._pick("group_left", "group_right") + self._pick("", "()", "(k)", "(n, le)")
        if self._random.random() < 0.3:
            return f"{left} {op}{flag} {on} {side} {right}"
        return f"({left}) {op}{flag} {on} {side} ({right})"

    def _with_scalar(self, depth: int) -> str:
        op = self._pick(*ARITHMETIC, *COMPARISON)
        flag = " bool" if op in COMPARISON and self._random.random() < 0.5 else ""
        sides = [f"({self._vector(depth)})", f"({self._scalar(depth)})"]
        self._random.shuffle(sides)
        return f"{sides[0]} {op}{flag} {sides[1]}"

    def _histogram(self, depth: int) -> str:
        # 3.5 gives NaN for what lies within the first or the last bucket.
        if self._random.random() < 0.2:
            bounds = f"{self._pick('0.1', '0.5', '-Inf')}, {self._pick('1', '5', '0.7', 'Inf')}"
            operand = self._pick("h_bucket", 'h_bucket{i="0"}', "sum by (le) (h_bucket)")
            return f"histogram_fraction({bounds}, {operand})"
        return f"histogram_quantile({self._scalar(depth)}, {self._buckets(depth)})"

    def _buckets(self, depth: int) -> str:
        plain = self._pick(
            "h_bucket", "rate(h_bucket[1m])", "sum by (le) (h_bucket)", "x_bucket", "x_bucket",
            "rate(x_bucket[2m])", "sum without (i) (x_bucket)", '{__name__=~".+_bucket"}', 'x_bucket{i="holes"}',
        )  # fmt: skip
        return plain if self._random.random() < 0.8 else self._vector(depth)

    def _label_function(self, depth: int) -> str:
        operand = self._vector(depth)
        target, source = self._pick(*LABELS), self._pick(*LABELS)
        if self._random.random() < 0.6:
            text, pattern = self._pick(*TEXTS), self._pick(*PATTERNS)
            return f"label_replace({operand}, {target}, {text}, {source}, {pattern})"
        sources = self._pick("", f", {source}", f", {source}, {self._pick(*LABELS)}", f", {source}")
        return f"label_join({operand}, {target}, {self._pick(*TEXTS)}{sources})"

    def _other(self, depth: int) -> str:
        kind = self._random.random()
        if kind < 0.4:
            return f"vector({self._scalar(depth)})"
        if kind < 0.6:
            names = self._pick("", ', "i"', ', "j", "i"', ', "nope"', ', "le"')
            return f"sort_by_label{self._pick('', '_desc')}({self._vector(depth)}{names})"
        if kind < 0.8:
            return f"{self._pick('hour', 'minute', 'year', 'month', 'day_of_week')}()"
        return f"{self._pick(*ELEMENTWISE[22:29])}(vector({self._scalar(depth)}))"
