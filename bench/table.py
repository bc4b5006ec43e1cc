"""Tables of figures, as Markdown whose columns stand under each other, and the means over their rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MISSING = "?"


@dataclass(frozen=True)
class Table:
    """`rows` hold texts, one for each of `heads`; `notes` are sentences below."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        columns = [_column(cells) for cells in zip(self.heads, *self.rows, strict=True)]
        lines = [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]
        notes = ["", *self.notes] if self.notes else []
        return "\n".join([f"### {self.title}", "", *lines, *notes, ""])


def _column(cells: Sequence[str]) -> list[str]:
    """Head, rule and cells, as wide as the widest: figures to the right, words to the left."""
    width = max(3, *map(len, cells))
    head, *rest = cells
    if all(cell == "" or cell == MISSING or cell[0].isdigit() for cell in rest):
        return [head.rjust(width), "-" * (width - 1) + ":", *(cell.rjust(width) for cell in rest)]
    return [head.ljust(width), "-" * width, *(cell.ljust(width) for cell in rest)]


def figure(value: float | None) -> str:
    """Three digits that count, more where there are more before the point."""
    if value is None or math.isnan(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 4)}f}"


def times_better(ours: float | None, theirs: float | None, *, more_is_better: bool = False) -> str:
    """How many times better ours is: cheaper, or where more is better, more."""
    above, below = (ours, theirs) if more_is_better else (theirs, ours)
    if above is None or not below or math.isnan(above) or math.isnan(below):
        return MISSING
    return f"{above / below:.2f}x"


def geometric_mean(values: Iterable[float]) -> float:
    """Not a number where there are no values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
