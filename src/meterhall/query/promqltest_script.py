"""The promqltest script language: text to commands.

Follows promql/promqltest/test.go of Prometheus: `clear`, `load`, `eval`, with all expectations. Bodies end at an empty
line or a comment; indentation means nothing. Every fault is a ScriptError that knows its line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from meterhall.model.errors import BadInput
from meterhall.promql.durations import parse_duration
from meterhall.promql.strings import unquote
from meterhall.query.promqltest_values import SeriesLine, parse_float, parse_series


class ScriptError(BadInput):
    """A script that cannot be read. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Clear:
    """Empties the store."""

    line: int


@dataclass(frozen=True, slots=True)
class Load:
    """Adds series; value k is at k steps. `custom_buckets` also derives native histograms."""

    line: int
    step_ms: int
    series: tuple[SeriesLine, ...]
    custom_buckets: bool


@dataclass(frozen=True, slots=True)
class TextExpectation:
    """A text that must be `msg`, or must be found by `regex`; anything where both are None."""

    msg: str | None = None
    regex: str | None = None


@dataclass(slots=True)
class Expectations:
    """What one eval must answer. `lines` are the series, each with the line it stands on."""

    ordered: bool = False
    fail: TextExpectation | None = None
    warns: list[TextExpectation] = field(default_factory=list)
    infos: list[TextExpectation] = field(default_factory=list)
    no_warn: bool = False
    no_info: bool = False
    scalar: float | None = None
    string: str | None = None
    range_vector: tuple[int, int, int] | None = None
    series: list[SeriesLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Eval:
    """One query. An instant query has no step, and its start is its time."""

    line: int
    query: str
    start_ms: int
    end_ms: int
    step_ms: int | None
    expect: Expectations


Command = Clear | Load | Eval

_FLAGS = ("ordered", "no_warn", "no_info")
_OLD_SPELLINGS = ("eval_fail", "eval_warn", "eval_info", "eval_ordered")


def read_script(text: str) -> Iterator[Command]:
    """The commands in order. Raises ScriptError at the first that cannot be read."""
    lines = ["" if line.strip().startswith("#") else line.strip() for line in text.split("\n")]
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        command, at = _command(lines, at)
        yield command


def _command(lines: list[str], at: int) -> tuple[Command, int]:
    word = lines[at].split(None, 1)[0].lower()
    try:
        if word == "clear":
            return Clear(at + 1), at + 1
        if word.startswith("load"):
            return _load(lines, at)
        if word.startswith("eval"):
            return _eval(lines, at, word)
    except ScriptError:
        raise
    except BadInput as error:
        raise ScriptError(at + 1, str(error)) from None
    raise ScriptError(at + 1, f"unknown command: {word}")


def _load(lines: list[str], at: int) -> tuple[Load, int]:
    line = at + 1
    words = lines[at].split()
    if len(words) != 2 or words[0].lower() not in ("load", "load_with_nhcb"):
        raise ScriptError(line, "want: load STEP")
    step_ms = parse_duration(words[1])
    at += 1
    series = []
    while at < len(lines) and lines[at]:
        series.append(_series(lines, at))
        at += 1
    return Load(line, step_ms, tuple(series), words[0].lower() == "load_with_nhcb"), at


def _series(lines: list[str], at: int) -> SeriesLine:
    try:
        return parse_series(lines[at])
    except BadInput as error:
        raise ScriptError(at + 1, str(error)) from None


def _eval(lines: list[str], at: int, word: str) -> tuple[Eval, int]:
    line = at + 1
    if word != "eval" and word not in _OLD_SPELLINGS:
        raise ScriptError(line, f"unknown command: {word}")
    rest = lines[at].split(None, 1)[1] if " " in lines[at] else ""
    expect = Expectations(ordered=word == "eval_ordered")
    if word == "eval_fail":
        expect.fail = TextExpectation()
    elif word == "eval_warn":
        expect.warns.append(TextExpectation())
    elif word == "eval_info":
        expect.infos.append(TextExpectation())
    times, query = _times(rest, line)
    at = _body(lines, at + 1, expect)
    start_ms, end_ms, step_ms = times
    return Eval(line, query, start_ms, end_ms, step_ms, expect), at


def _times(rest: str, line: int) -> tuple[tuple[int, int, int | None], str]:
    words = rest.split(None, 3)
    if len(words) == 4 and words[:2] == ["instant", "at"]:
        time_ms = parse_duration(words[2])
        return (time_ms, time_ms, None), words[3]
    words = rest.split(None, 7)
    if len(words) == 8 and (words[0], words[1], words[3], words[5]) == (
        "range",
        "from",
        "to",
        "step",
    ):
        start_ms, end_ms, step_ms = (parse_duration(words[index]) for index in (2, 4, 6))
        if start_ms > end_ms or step_ms == 0:
            raise ScriptError(line, "want a start not after the end, and a step above 0")
        return (start_ms, end_ms, step_ms), words[7]
    raise ScriptError(
        line,
        "want: eval instant at TIME QUERY, or eval range from TIME to TIME step DURATION QUERY",
    )


def _body(lines: list[str], at: int, expect: Expectations) -> int:
    """Reads expectations up to the end of the body; where that is."""
    while at < len(lines) and lines[at]:
        line = lines[at]
        at += 1
        try:
            if _old_failure(line, expect):
                break
            if line.split(None, 1)[0] == "expect":
                _expectation(line, expect)
                continue
            scalar = _bare_number(line)
            if scalar is not None:
                expect.scalar = scalar
                break
            expect.series.append(parse_series(line))
        except BadInput as error:
            raise ScriptError(at, str(error)) from None
    return at


def _old_failure(line: str, expect: Expectations) -> bool:
    word, _, rest = line.partition(" ")
    if word == "expected_fail_message":
        expect.fail = TextExpectation(msg=rest.strip())
    elif word == "expected_fail_regexp":
        expect.fail = TextExpectation(regex=rest.strip())
    else:
        return False
    return True


def _bare_number(line: str) -> float | None:
    try:
        return parse_float(line)
    except BadInput:
        return None


def _expectation(line: str, expect: Expectations) -> None:
    words = line.split()
    kind = words[1] if len(words) > 1 else ""
    rest = line.split(None, 2)[2] if len(words) > 2 else ""
    if kind in _FLAGS and not rest:
        setattr(expect, kind, True)
    elif kind in ("warn", "info"):
        (expect.warns if kind == "warn" else expect.infos).append(_text_expectation(rest))
    elif kind == "fail":
        if expect.fail is not None:
            raise BadInput("a second expect fail")
        expect.fail = _text_expectation(rest)
    elif kind == "string":
        expect.string = unquote(rest.strip())
        if expect.string is None:
            raise BadInput(f"not a quoted string: {rest}")
    elif kind == "range":
        expect.range_vector = _range_vector(words)
    else:
        raise BadInput(f"unknown expectation: {line}")
    if (expect.no_warn and expect.warns) or (expect.no_info and expect.infos):
        raise BadInput("both expected and excluded")


def _range_vector(words: list[str]) -> tuple[int, int, int]:
    if len(words) != 9 or words[2::2][:1] + words[3::2] != ["vector", "from", "to", "step"]:
        raise BadInput("want: expect range vector from TIME to TIME step DURATION")
    return parse_duration(words[4]), parse_duration(words[6]), parse_duration(words[8])


def _text_expectation(rest: str) -> TextExpectation:
    if not rest:
        return TextExpectation()
    kind, colon, text = rest.partition(":")
    if colon and kind == "msg":
        return TextExpectation(msg=text.strip())
    if colon and kind == "regex":
        return TextExpectation(regex=text.strip())
    raise BadInput(f"want msg:TEXT or regex:PATTERN, got {rest}")
