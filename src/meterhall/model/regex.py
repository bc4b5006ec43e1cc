"""Users' regular expressions: RE2, anchored at both ends, with Go's error texts.

Python's `re` is never used on a user's pattern: it backtracks (a denial of service) and its dialect
differs. Prometheus compiles `^(?s:PATTERN)$`; RE2's fullmatch with dot_nl is the same.
"""

import threading
from collections import OrderedDict

import re2

from meterhall.model.errors import BadInput

PATTERN_CHARS_MAX = 65_536
# Of all programs that are kept, of all tenants together: 32 MB. A small pattern has some tens of instructions, and is
# compiled again in as many microseconds; \pL{400} has half a million.
_INSTRUCTIONS_KEPT = 1 << 20
# The library keeps 128 programs, however large. It is made to forget them after one from this size on.
_LARGE_INSTRUCTIONS = 1 << 12
_PROGRAM_BYTES_MAX = 8 << 20
# Go's regexp/syntax: a tree of more than a thousand levels is refused. Prometheus adds one group.
_NESTING_MAX = 999
# RE2's C++ takes larger repeat counts for literal text.
_COUNT_DIGITS_MAX = 8
_MISSING_PARENTHESIS = "missing closing )"
_UNEXPECTED_PARENTHESIS = "error parsing regexp: unexpected )"

# RE2's C++ words for a fault, and the words of Go's regexp/syntax, which Prometheus prints.
_GO_WORDS = {
    "invalid escape sequence": "invalid escape sequence",
    "bad character class": "invalid character class",
    "invalid character class": "invalid character class",
    "invalid character class range": "invalid character class range",
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "trailing \\": "trailing backslash at end of expression",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid UTF-8": "invalid UTF-8",
    "invalid named capture group": "invalid named capture",
}


class Regex:
    """One pattern, known to be RE2. Raises BadInput with Go's words where it is not.

    Caches remember selectors by the thousand, and a program may take nine megabytes: so it is
    not held here but among the last few that were used.
    """

    __slots__ = ("pattern",)

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        _programs.get(pattern)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        return _programs.get(self.pattern).fullmatch(text) is not None

    def expand(self, text: str, template: str) -> str | None:
        """`template` with `$1`, `${name}` filled from a full match, or None where none matches.

        Follows Go's regexp.Expand: an unknown group is empty, `$$` is a dollar sign.
        """
        match = _programs.get(self.pattern).fullmatch(text)
        return None if match is None else _expand(match, template)


def compile_pattern(pattern: str) -> "re2._Regexp":
    """The pattern as RE2 sees it: dot matches newline, memory is capped, nothing is logged."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadInput(f"regular expression longer than {PATTERN_CHARS_MAX} characters")
    if not _is_text(pattern):
        raise BadInput("error parsing regexp: invalid UTF-8")
    fault = _go_only_fault(pattern)
    if fault is None:
        return _compile(pattern)
    # Go reads from the left: what RE2 finds before the fault comes first. A group that is open there is no fault.
    at, reason = fault
    try:
        _compile(pattern[:at])
    except BadInput as error:
        if _UNEXPECTED_PARENTHESIS in str(error):
            raise BadInput(f"{_UNEXPECTED_PARENTHESIS}: `{pattern}`") from None
        if _MISSING_PARENTHESIS not in str(error):
            raise
    raise BadInput(f"error parsing regexp: {reason}")


class _Programs:
    """What was compiled lately. Thread-safe; two threads may compile the same pattern at once."""

    def __init__(self) -> None:
        self._programs: OrderedDict[str, re2._Regexp] = OrderedDict()
        self._instructions = 0
        self._lock = threading.Lock()

    def get(self, pattern: str) -> "re2._Regexp":
        """The program. Raises BadInput as `compile_pattern`; that is not kept."""
        with self._lock:
            if pattern in self._programs:
                self._programs.move_to_end(pattern)
                return self._programs[pattern]
        program = compile_pattern(pattern)
        size = program.programsize
        if size >= _LARGE_INSTRUCTIONS:
            re2.purge()
        with self._lock:
            if pattern not in self._programs:
                self._programs[pattern] = program
                self._instructions += size
            while self._instructions > _INSTRUCTIONS_KEPT:
                _, gone = self._programs.popitem(last=False)
                self._instructions -= gone.programsize
        return program


_programs = _Programs()


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _PROGRAM_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise BadInput(_go_message(error, pattern)) from None


def _is_text(pattern: str) -> bool:
    try:
        pattern.encode()
    except UnicodeEncodeError:
        return False
    return True


def _go_message(error: Exception, pattern: str) -> str:
    reason = error.args[0] if error.args else str(error)
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    words, _, culprit = text.partition(": ")
    known = _GO_WORDS.get(words, words)
    if words == "invalid UTF-8":
        # The pattern is valid text, so RE2 means a code point that is cut short.
        known, culprit = "invalid escape sequence", pattern[pattern.rfind("\\x{") :]
    if culprit or words == "trailing \\":
        return f"error parsing regexp: {known}: `{culprit}`"
    return f"error parsing regexp: {known}"


def _go_only_fault(pattern: str) -> tuple[int, str] | None:
    """Where Go refuses what RE2's C++ takes or words otherwise, and Go's words; None where it does not.

    These are `\\C`, names of groups beyond ASCII, `(?<=` (which Go reads as a name), repeat counts of nine and
    more digits (which C++ takes literally), and groups nested a thousand deep.
    """
    at = depth = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            if pattern.startswith("\\C", at):
                return at, "invalid escape sequence: `\\C`"
            at = _escape_end(pattern, at)
            continue
        if char == "[":
            at = _class_end(pattern, at)
            continue
        reason = _construct_fault(pattern, at) if char in "({" else ""
        if reason:
            return at, reason
        depth += (char == "(") - (char == ")")
        if depth >= _NESTING_MAX:
            return at, f"expression nests too deeply: `{pattern}`"
        at += 1
    return None


def _construct_fault(pattern: str, at: int) -> str:
    """Go's words for what begins with `(` or `{` here, or nothing."""
    if pattern[at] == "{":
        end = pattern.find("}", at)
        counts = pattern[at + 1 : end].split(",") if end > 0 else []
        if not 1 <= len(counts) <= 2 or not counts[0].isdecimal():
            return ""
        if counts[-1] and not counts[-1].isdecimal():
            return ""
        if max(len(count) for count in counts) <= _COUNT_DIGITS_MAX:
            return ""
        return f"invalid repeat count: `{pattern[at : end + 1]}`"
    opening = next((mark for mark in ("(?P<", "(?<") if pattern.startswith(mark, at)), "")
    if not opening or len(pattern) == at + len(opening):
        return ""
    end = pattern.find(">", at)
    if end < 0:
        return f"invalid named capture: `{pattern[at:]}`"
    name = pattern[at + len(opening) : end]
    if name.isascii() and name.replace("_", "a").isalnum():
        return ""
    return f"invalid named capture: `{pattern[at : end + 1]}`"


def _escape_end(pattern: str, at: int) -> int:
    """Behind the escape at `at`; `\\Q` quotes up to `\\E`."""
    if not pattern.startswith("\\Q", at):
        return at + 2
    end = pattern.find("\\E", at)
    return len(pattern) if end < 0 else end + 2


def _class_end(pattern: str, at: int) -> int:
    """Behind the `]` of the class that begins at `at`. A `]` in first place is a member."""
    at += 2 if pattern.startswith("[^", at) else 1
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        named = pattern.find(":]", at + 2) if pattern.startswith("[:", at) else -1
        if named >= 0:
            at = named + 2
        else:
            at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _expand(match: "re2._Match", template: str) -> str:
    out: list[str] = []
    position = 0
    while (dollar := template.find("$", position)) >= 0:
        out.append(template[position:dollar])
        if template.startswith("$$", dollar):
            out.append("$")
            position = dollar + 2
            continue
        name, position = _group_name(template, dollar)
        out.append("$" if name is None else _group_text(match, name))
    out.append(template[position:])
    return "".join(out)


def _group_name(template: str, dollar: int) -> tuple[str | None, int]:
    """The name after a `$` and where it ends; None where the dollar stands alone."""
    begin = dollar + 1
    braced = template.startswith("{", begin)
    begin += braced
    end = begin
    while end < len(template) and (template[end] == "_" or template[end].isalnum()):
        end += 1
    name = template[begin:end]
    if not name or (braced and not template.startswith("}", end)):
        return None, dollar + 1
    return name, end + braced


def _group_text(match: "re2._Match", name: str) -> str:
    key: int | str = int(name) if name.isdecimal() else name
    try:
        return match.group(key) or ""
    except (IndexError, KeyError):
        return ""
