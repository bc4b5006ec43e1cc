"""How Prometheus spells values and times, the slow and obvious way, and arrays of values to try."""

from decimal import Decimal

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


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


any_bits = arrays(np.uint64, st.integers(1, 40), elements=st.integers(0, 2**64 - 1))
plain = arrays(np.float64, st.integers(1, 40), elements=st.floats(width=64))
whole = arrays(np.int64, st.integers(1, 40), elements=st.integers(-(2**54), 2**54))
short = st.lists(st.decimals(-(10**9), 10**9, places=3), min_size=1, max_size=40)

any_values = st.one_of(
    any_bits.map(lambda bits: bits.view(np.float64)),
    plain,
    whole.map(lambda ints: ints.astype(np.float64)),
    short.map(lambda decimals: np.array([float(decimal) for decimal in decimals])),
)


def many_values() -> np.ndarray:
    """Random bit patterns, whose exponents are mostly far off; numbers around the thresholds; each exponent's
    edges; powers of ten, of two, and their neighbours; numbers of 15 to 17 digits.
    """
    random = np.random.default_rng(7)
    near = random.uniform(-30, 30, 50_000)
    exponents = np.arange(2048, dtype=np.uint64) << np.uint64(52)
    fractions = np.array([0, 1, 2, (1 << 51), (1 << 52) - 2, (1 << 52) - 1], np.uint64)
    tens = np.array([float(f"{digit}e{n}") for n in range(-323, 309) for digit in (1, 5, 9)])
    digits = np.array(
        [
            float(f"{n}e{e}")
            for n in random.integers(10**14, 10**17, 2_000)
            for e in (-30, -17, -9, 3)
        ]
    )
    values = np.concatenate(
        [
            random.integers(0, 2**64, 50_000, np.uint64).view(np.float64),
            np.sign(near) * 10.0 ** np.abs(near),
            (exponents[:, None] | fractions).ravel().view(np.float64),
            np.concatenate([np.nextafter(tens, np.inf), np.nextafter(tens, 0), tens]),
            digits,
            np.arange(1, 200, dtype=np.uint64).view(np.float64),
            np.float64(2**53) + np.arange(-50, 50),
        ]
    )
    return np.concatenate([values, -values])
