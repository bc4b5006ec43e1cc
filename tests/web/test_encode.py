"""The fast encoder against a slow, obvious one, and Prometheus' own spellings from the contract."""

import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meterhall.query.result import (
    GridResult,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)
from meterhall.web import encode
from meterhall.web.encode import Notes


def reference_value(value: float) -> str:
    """By Decimal: the exact digits of the shortest repr, laid out by Prometheus' rule."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    exact = Decimal(repr(value)).normalize()
    if Decimal("1e-6") <= abs(exact) < Decimal("1e21"):
        return format(exact, "f")
    sign, digits, _ = exact.as_tuple()
    mantissa = "".join(map(str, digits))
    mantissa = mantissa[0] + ("." + mantissa[1:] if len(mantissa) > 1 else "")
    exponent = exact.adjusted()
    return f"{'-' * sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def reference_time(time_ms: int) -> str:
    text = format(Decimal(time_ms) / 1000, ".3f")
    return text.removesuffix(".000")


def reference_points(times, values) -> str:
    points = (
        f'[{reference_time(t)},"{reference_value(v)}"]' for t, v in zip(times, values, strict=True)
    )
    return "[" + ",".join(points) + "]"


def encoded(value) -> str:
    return b"".join(encode.encode_value(value)).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1.234e-07, "1.234e-07"),
        (1e-06, "0.000001"),
        (9.99e-07, "9.99e-07"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e16, "10000000000000000"),
        (0.00001, "0.00001"),
        (1.5e-5, "0.000015"),
        (2.0, "2"),
        (10.05, "10.05"),
        (0.0, "0"),
        (-0.0, "-0"),
        (-1e-7, "-1e-07"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740993.0, "9007199254740992"),
    ],
)
def test_a_value_is_spelled_as_prometheus_does(value, text):
    assert encode.spell_value(value) == text
    assert encode.spell_values(np.array([value, 0.5])) == [text.encode(), b"0.5"]
    assert encode.spell_values(np.array([value])) == [text.encode()]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1000000000000000000000"),
        (1e-9, "0.000000001"),
        (2.5, "2.5"),
        (-0.0, "-0"),
        (float("inf"), "+Inf"),
    ],
)
def test_a_scalar_never_has_an_exponent(value, text):
    assert encode.spell_scalar(value) == text


@pytest.mark.parametrize(
    ("time_ms", "sample", "scalar"),
    [
        (4000, "4", "4"),
        (500, "0.500", "0.5"),
        (1795445635413, "1795445635.413", "1795445635.413"),
        (-3599000, "-3599", "-3599"),
        (-500, "-0.500", "-0.5"),
        (0, "0", "0"),
        (100000, "100", "100"),
        (1, "0.001", "0.001"),
        (10, "0.010", "0.01"),
    ],
)
def test_times_of_samples_have_three_decimals_or_none(time_ms, sample, scalar):
    assert encode.spell_seconds(time_ms) == sample.encode()
    assert encoded(ScalarResult(time_ms, 2.0)) == f'[{scalar},"2"]'
    assert encoded(StringResult(time_ms, 'h"i')) == f'[{scalar},"h\\"i"]'
    vector = VectorResult(time_ms, [()], np.array([1.0]))
    assert encoded(vector) == f'[{{"metric":{{}},"value":[{sample},"1"]}}]'


any_bits = arrays(np.uint64, st.integers(1, 40), elements=st.integers(0, 2**64 - 1))
plain = arrays(np.float64, st.integers(1, 40), elements=st.floats(width=64))
whole = arrays(np.int64, st.integers(1, 40), elements=st.integers(-(2**54), 2**54))


@given(
    st.one_of(
        any_bits.map(lambda bits: bits.view(np.float64)),
        plain,
        whole.map(lambda ints: ints.astype(np.float64)),
    )
)
@settings(max_examples=400, deadline=None)
def test_any_float_is_spelled_as_the_reference_does(values):
    assert encode.spell_values(values) == [reference_value(v).encode() for v in values.tolist()]


def test_random_bit_patterns_by_the_thousand():
    bits = np.random.default_rng(7).integers(0, 2**64, 100_000, np.uint64, endpoint=False)
    values = bits.view(np.float64)
    assert encode.spell_values(values) == [reference_value(v).encode() for v in values.tolist()]
    # Most bit patterns have far-off exponents; these lie around the two thresholds.
    near = np.random.default_rng(8).uniform(-30, 30, 50_000)
    values = np.sign(near) * 10.0 ** np.abs(near)
    assert encode.spell_values(values) == [reference_value(v).encode() for v in values.tolist()]


@st.composite
def grids(draw):
    series, steps = draw(st.integers(0, 5)), draw(st.integers(1, 6))
    start, step = draw(st.integers(-5000, 5000)), draw(st.sampled_from([1, 500, 1000, 15_000]))
    values = draw(arrays(np.float64, (series, steps), elements=st.floats(width=64)))
    present = draw(st.none() | arrays(np.bool_, (series, steps)))
    if present is not None and series:
        present[:, draw(st.integers(0, steps - 1))] = True
    labels = [(("__name__", "m"), ("a", f'{n}"\n<é')) for n in range(series)]
    return GridResult(labels, start + step * np.arange(steps), values, present)


def reference_grid(grid: GridResult) -> str:
    entries = []
    for row, labels in enumerate(grid.labels):
        kept = [
            column
            for column in range(len(grid.times))
            if grid.present is None or grid.present[row, column]
        ]
        points = reference_points(grid.times[kept].tolist(), grid.values[row, kept].tolist())
        metric = json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))
        entries.append(f'{{"metric":{metric},"values":{points}}}')
    return "[" + ",".join(entries) + "]"


@given(grids(), st.sampled_from([1, 3, 8, 65_536]))
@settings(max_examples=300, deadline=None)
def test_a_grid_is_the_same_whatever_the_size_of_a_piece(grid, piece):
    kept = encode.POINTS_PER_PIECE
    encode.POINTS_PER_PIECE = piece
    try:
        assert encoded(grid) == reference_grid(grid)
    finally:
        encode.POINTS_PER_PIECE = kept


@pytest.mark.parametrize("lengths", [[], [1], [3, 1], [70_000], [40_000, 40_000, 2]])
def test_raw_samples_keep_their_own_times(lengths):
    times = [np.arange(n, dtype=np.int64) * 7 + n for n in lengths]
    values = [np.linspace(-1, 1, n) for n in lengths]
    labels = [(("n", str(n)),) for n in range(len(lengths))]
    entries = [
        f'{{"metric":{{"n":"{n}"}},"values":{reference_points(t.tolist(), v.tolist())}}}'
        for n, (t, v) in enumerate(zip(times, values, strict=True))
    ]
    assert encoded(RaggedResult(labels, times, values)) == "[" + ",".join(entries) + "]"


def test_an_empty_vector_is_a_list():
    assert encoded(VectorResult(0, [], np.array([]))) == "[]"


def test_a_large_vector_comes_in_pieces():
    count = encode.POINTS_PER_PIECE + 5
    labels = [(("i", str(i)),) for i in range(count)]
    pieces = list(encode.encode_value(VectorResult(1000, labels, np.arange(count, dtype=float))))
    assert len(pieces) == 3
    parsed = json.loads(b"".join(pieces))
    assert parsed[-1] == {"metric": {"i": str(count - 1)}, "value": [1, str(count - 1)]}


def test_annotations_stand_beside_data_and_are_capped():
    result = ScalarResult(4000, 2.0)
    body = b"".join(encode.encode_query(result, Notes()))
    assert body == b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'
    notes = Notes([f"w{n}" for n in range(12)], ["i"], {"timings": {"evalTotalTime": 0.5}})
    parsed = json.loads(b"".join(encode.encode_query(result, notes)))
    assert parsed["warnings"] == [f"w{n}" for n in range(10)] + [
        "2 more warning annotations omitted"
    ]
    assert parsed["infos"] == ["i"]
    assert parsed["data"]["stats"] == {"timings": {"evalTotalTime": 0.5}}
