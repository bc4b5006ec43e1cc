"""Users' regular expressions: RE2, anchored at both ends, with Go's error texts.

Python's `re` is never used on a user's pattern: it backtracks (a denial of service) and its dialect
differs. Prometheus compiles `^(?s:PATTERN)$`; RE2's fullmatch with dot_nl is the same.
"""

import re2

from meterhall.model.errors import BadInput

PATTERN_CHARS_MAX = 65_536
_PROGRAM_BYTES_MAX = 8 << 20

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
    """One compiled pattern. Raises BadInput with Go's words where the pattern is not RE2."""

    __slots__ = ("_compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled = compile_pattern(pattern)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        return self._compiled.fullmatch(text) is not None

    def expand(self, text: str, template: str) -> str | None:
        """`template` with `$1`, `${name}` filled from a full match, or None where none matches.

        Follows Go's regexp.Expand: an unknown group is empty, `$$` is a dollar sign.
        """
        match = self._compiled.fullmatch(text)
        return None if match is None else _expand(match, template)


def compile_pattern(pattern: str) -> "re2._Regexp":
    """The pattern as RE2 sees it: dot matches newline, memory is capped, nothing is logged."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadInput(f"regular expression longer than {PATTERN_CHARS_MAX} characters")
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _PROGRAM_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise BadInput(_go_message(error)) from None


def _go_message(error: Exception) -> str:
    reason = error.args[0] if error.args else str(error)
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    words, _, culprit = text.partition(": ")
    known = _GO_WORDS.get(words, words)
    return (
        f"error parsing regexp: {known}: `{culprit}`"
        if culprit
        else f"error parsing regexp: {known}"
    )


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
