"""Whether two systems' answers say the same: the same label sets, and values within 1e-9 of each other."""

import math
from typing import Any

import orjson

RELATIVE = 1e-9
_NUMBER = {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}


def difference(ours: bytes, theirs: bytes) -> str | None:
    """The first thing in which they differ, or None. Both are bodies of Prometheus' HTTP API."""
    mine, other = (_content(orjson.loads(body)["data"]) for body in (ours, theirs))
    if not isinstance(mine, dict) or not isinstance(other, dict):
        return None if mine == other else f"{_sample(mine, other)}"
    if mine.keys() != other.keys():
        return f"label sets: {_sample(mine.keys(), other.keys())}"
    for labels, points in mine.items():
        found = _difference_of_points(points, other[labels])
        if found is not None:
            return f"{dict(labels)}: {found}"
    return None


def _content(data: Any) -> Any:
    """Points by label set, or for lists without values the set of what is in them."""
    if isinstance(data, list):
        return {_key(item) if isinstance(item, dict) else item for item in data} or set()
    if data["resultType"] in ("scalar", "string"):
        return {(): [data["result"]]}
    return {
        _key(series["metric"]): series.get("values") or [series["value"]]
        for series in data["result"]
    }


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _sample(mine: Any, other: Any) -> str:
    """How many are on one side only, and one of them."""
    extra, lacking = set(mine) - set(other), set(other) - set(mine)
    one = next(iter(extra or lacking), None)
    return f"{len(extra)} too many, {len(lacking)} missing, such as {one}"


def _difference_of_points(mine: list[Any], other: list[Any]) -> str | None:
    if len(mine) != len(other):
        return f"{len(mine)} points for {len(other)}"
    for (time, value), (other_time, other_value) in zip(mine, other, strict=True):
        if time != other_time:
            return f"point at {time} for {other_time}"
        if value != other_value and not _close(_number(value), _number(other_value)):
            return f"{value} for {other_value} at {time}"
    return None


def _number(text: str) -> float:
    return _NUMBER[text] if text in _NUMBER else float(text)


def _close(mine: float, other: float) -> bool:
    both_nan = math.isnan(mine) and math.isnan(other)
    return both_nan or math.isclose(mine, other, rel_tol=RELATIVE)
