"""`docs/threats.md` names tests; they must be there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "threats.md"
# Rows that the service as it is must answer.
APPLY = [*range(1, 9), *range(10, 15), *range(17, 23)]


def rows():
    return {
        int(found[1]): found[0]
        for found in re.finditer(r"^\| S(\d+) .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    }


def test_every_row_that_applies_names_a_test():
    for number in APPLY:
        assert re.search(r"`[\w/]+\.py", rows()[number]), f"S{number}"


def test_the_tests_that_are_named_are_there():
    for row in rows().values():
        file = None
        for named, function in re.findall(r"`([\w/]*(?:\.py)?)(?:::(\w+))?`", row):
            if named.endswith(".py"):
                file = TESTS / named
                assert file.is_file(), named
            if function:
                assert f"def {function}(" in file.read_text("utf-8"), function
