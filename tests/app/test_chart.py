"""Charts: every point lands on its dot."""

import math

from meterhall.app.chart import chart, draw


def dots(lines):
    """(x, y) of every dot that is set, y from the top."""
    order = {0x01: (0, 0), 0x02: (0, 1), 0x04: (0, 2), 0x40: (0, 3)}
    order |= {0x08: (1, 0), 0x10: (1, 1), 0x20: (1, 2), 0x80: (1, 3)}
    for row, line in enumerate(lines):
        for column, char in enumerate(line.split(" ")[0]):
            for bit, (x, y) in order.items():
                if (ord(char) - 0x2800) & bit:
                    yield column * 2 + x, row * 4 + y


def test_a_rising_line_goes_from_the_bottom_left_to_the_top_right():
    found = sorted(dots(chart([(float(t), float(t)) for t in range(20)], columns=10)))
    assert found[0] == (0, 23)
    assert found[-1] == (19, 0)
    assert [y for _, y in found] == sorted((y for _, y in found), reverse=True)


def test_a_flat_line_stands_in_the_middle():
    assert {y for _, y in dots(chart([(0.0, 7.0), (1.0, 7.0)], columns=10))} == {12}


def test_the_scale_names_least_and_greatest():
    lines = list(chart([(0.0, -2.5), (1.0, 1e9)], columns=10))
    assert lines[0].endswith(" 1e+09")
    assert lines[-1].endswith(" -2.5")


def test_values_that_cannot_be_drawn_are_left_out():
    assert list(chart([(0.0, math.nan), (1.0, math.inf)], columns=10)) == ["(no finite value)"]
    assert list(draw([], width=80)) == ["(no series)"]
    assert list(draw([(str(n), [(0.0, 1.0)]) for n in range(22)], 80))[-1] == "(2 more series)"
