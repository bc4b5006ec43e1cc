"""Patterns: Go's verdicts and words from a real Prometheus, matching, and expansion."""

import gc
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhall.model.errors import BadInput
from meterhall.model.regex import PATTERN_CHARS_MAX, Regex, compile_pattern

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "patterns.jsonl").read_text().splitlines()
]


def programs():
    """The compiled patterns that anybody holds."""
    return [each for each in gc.get_objects() if type(each).__name__ == "_Regexp"]


@pytest.mark.parametrize("pattern", [r"\pL{60}x{%d}", "(a|b){1000}c{%d}"])
def test_patterns_that_are_remembered_hold_little_together(pattern):
    """A program may take sixteen megabytes, and caches remember thousands of selectors."""
    remembered = [Regex(pattern % number) for number in range(24)]
    assert not any(regex.matches("no") for regex in remembered)
    assert sum(each.programsize for each in programs()) <= 1_200_000


def test_small_patterns_are_compiled_once():
    remembered = [Regex(f"(a|b){{2}}{number}") for number in range(1000)]
    kept = {id(each) for each in programs()}
    assert all(regex.matches(f"ab{number}") for number, regex in enumerate(remembered))
    assert {id(each) for each in programs()} <= kept


def verdict(pattern):
    try:
        compile_pattern(pattern)
    except BadInput as error:
        return str(error)
    return None


def test_verdicts_are_those_of_go():
    """`patterns.jsonl` holds what Prometheus 3.5.3 said of each pattern."""
    wrong = {
        row["pattern"]: (verdict(row["pattern"]), row["error"])
        for row in ROWS
        if verdict(row["pattern"]) != row["error"]
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("(" * 1000 + ")" * 1000, "error parsing regexp: expression nests too deeply: `((("),
        ("a" * (PATTERN_CHARS_MAX + 1), "regular expression longer than"),
        ("\udc80", "error parsing regexp: invalid UTF-8"),
        ("(((a{10}){10}){10}){10}", "error parsing regexp: invalid repeat count: `{10}`"),
    ],
)
def test_limits(pattern, error):
    assert verdict(pattern).startswith(error)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a|ab", "ab", True),
        (".*", "a\nb", True),
        ("", "", True),
        ("", "a", False),
        ("é+", "éé", True),
        ("(?i)É", "é", True),
        (r"\d+", "٣", False),
    ],
)
def test_matches_the_whole_text(pattern, text, matches):
    assert Regex(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "template", "expanded"),
    [
        ("(.*)-(.*)", "a-b", "$2-$1", "b-a"),
        ("(?P<x>.)(.)", "ab", "${x}$x$2", "aab"),
        ("(.)", "a", "$1x", ""),
        ("(.)", "a", "${1}x", "ax"),
        ("(.)", "a", "$$1$", "$1$"),
        ("(.)", "a", "$9${y}|", "|"),
        ("(.)", "ab", "$1", None),
        ("(a)|(b)", "b", "$1$2", "b"),
    ],
)
def test_expand(pattern, text, template, expanded):
    assert Regex(pattern).expand(text, template) == expanded


@settings(max_examples=300, deadline=None)
@given(st.text("ab\\()[]{}*+?|^$.,:<>PCQE=!iés09-", max_size=12))
def test_any_pattern_compiles_or_is_bad_input(pattern):
    verdict(pattern)
