"""Line charts for a terminal, drawn with braille cells: two dots wide and four high each."""

import math
from collections.abc import Iterator, Sequence

Points = Sequence[tuple[float, float]]

_SERIES_MAX = 20
_ROWS = 6
# Dots of a braille cell by (column, row from the top), as Unicode chapter 21.1 numbers them.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def draw(series: Sequence[tuple[str, Points]], width: int) -> Iterator[str]:
    """Lines of text: for each series its name, its chart, its least and greatest value."""
    if not series:
        yield "(no series)"
    for name, points in series[:_SERIES_MAX]:
        yield name
        yield from chart(points, max(10, width - 14))
        yield ""
    if len(series) > _SERIES_MAX:
        yield f"({len(series) - _SERIES_MAX} more series)"


def chart(points: Points, columns: int) -> Iterator[str]:
    """One series as `_ROWS` lines of `columns` cells, with the scale at the right."""
    finite = [(t, v) for t, v in points if math.isfinite(v)]
    if not finite:
        yield "(no finite value)"
        return
    low, high = min(v for _, v in finite), max(v for _, v in finite)
    cells = [[0x2800] * columns for _ in range(_ROWS)]
    for x, y in _dots(finite, (low, high), (columns * 2, _ROWS * 4)):
        cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    for row, line in enumerate(cells):
        scale = {0: f"{high:.6g}", _ROWS - 1: f"{low:.6g}"}.get(row, "")
        yield f"{''.join(map(chr, line))} {scale}".rstrip()


def _dots(
    points: Points, scale: tuple[float, float], size: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    low, high = scale
    begin, end = points[0][0], points[-1][0]
    for t, v in points:
        across = 0.0 if end == begin else (t - begin) / (end - begin)
        # A flat line stands in the middle.
        up = 0.5 if high == low else (v - low) / (high - low)
        yield round(across * (size[0] - 1)), round((1 - up) * (size[1] - 1))
