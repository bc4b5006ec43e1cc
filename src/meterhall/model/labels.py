"""Labels: a series' identity as a sorted tuple of (name, value) pairs.

The plain tuple is hashable, compares as Prometheus orders label sets (pairwise, a prefix first;
code-point order of `str` is byte order of UTF-8), and costs nothing to make. No pair has an empty
value: an empty label is an absent one.
"""

from collections.abc import Iterable, Mapping

Labels = tuple[tuple[str, str], ...]

METRIC_NAME = "__name__"


def make_labels(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """Sorted labels without empty values. Names are taken to be unique."""
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return tuple(sorted((name, value) for name, value in items if value))


def label_value(labels: Labels, name: str) -> str:
    """The value of `name`, or the empty string where there is none."""
    for pair_name, value in labels:
        if pair_name == name:
            return value
    return ""


def quote(text: str) -> str:
    """`text` as Go's strconv.Quote spells it, which is how Prometheus prints label values."""
    return '"' + "".join(_quoted_char(char) for char in text) + '"'


def format_labels(labels: Labels) -> str:
    """`{a="b", c="d"}`, as Prometheus prints a label set in error texts."""
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels) + "}"


_GO_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def _quoted_char(char: str) -> str:
    if char in _GO_ESCAPES:
        return _GO_ESCAPES[char]
    if char == " " or char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
