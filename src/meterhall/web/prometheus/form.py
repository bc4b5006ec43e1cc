"""Parameters of a request: the URL's query and a form body, merged as Go's net/http merges them.

Values of the body come before those of the URL, so the body wins where one value is asked for and both
count where several are. Pairs are cut at `&` alone; a pair with a `;` or a malformed escape is dropped, and
`fault` keeps Go's words for the first of them, because some endpoints refuse the request for it.
"""

import functools
import re
from collections.abc import Set as AbstractSet
from urllib.parse import unquote_to_bytes

from meterhall.model.errors import BadInput
from meterhall.model.labels import quote

# Go's own limit on a query (urlmaxqueryparams), against a body of nothing but ampersands.
PAIRS_MAX = 10_000

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)  # noqa: TID251 - our own pattern
_BOUNDARY = re.compile(rb';\s*boundary="?([^";]{1,70})"?', re.IGNORECASE)  # noqa: TID251 - ours
_FIELD = re.compile(rb';\s*name="([^"]*)"')  # noqa: TID251 - our own pattern
_FILE = re.compile(rb";\s*filename=")  # noqa: TID251 - our own pattern

# Pairs with escapes are kept unescaped: short ones, and so many of them.
_CACHED_BYTES_MAX = 2048
_CACHED_PAIRS = 1024

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"


class Form:
    """Values by name, in the order in which they count."""

    __slots__ = ("_values", "fault")

    def __init__(self, pairs: list[tuple[str, str]], fault: str | None = None) -> None:
        self._values: dict[str, list[str]] = {}
        self.fault = fault
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    @property
    def names(self) -> AbstractSet[str]:
        """The names that have a value, be it empty."""
        return self._values.keys()

    def first(self, name: str) -> str:
        """The first value, or the empty string: to Prometheus an empty value is an absent one."""
        values = self._values.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that may repeat."""
        return self._values.get(name, [])


def read_form(query: bytes, body: bytes, content_type: bytes) -> Form:
    """The merged parameters. A body that is no form (JSON, say) is ignored, as Prometheus does.

    Raises BadInput for more than PAIRS_MAX parameters.
    """
    pairs, fault = _body_pairs(body, content_type) if body else ([], None)
    url_pairs, url_fault = parse_pairs(query)
    return Form(pairs + url_pairs, fault or url_fault)


def _body_pairs(body: bytes, content_type: bytes) -> tuple[list[tuple[str, str]], str | None]:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == URLENCODED:
        return parse_pairs(body)
    if kind == MULTIPART:
        return _multipart_pairs(body, content_type), None
    return [], None


def parse_pairs(text: bytes) -> tuple[list[tuple[str, str]], str | None]:
    """Pairs of a urlencoded text, and Go's words for the first malformed one. Raises BadInput."""
    pairs: list[tuple[str, str]] = []
    fault: str | None = None
    if text.count(b"&") >= PAIRS_MAX:
        raise BadInput(f"more than {PAIRS_MAX} parameters")
    for pair in text.split(b"&") if text else ():
        if not (b"%" in pair or b"+" in pair or b";" in pair):
            if pair:
                plain, _, rest = _text(pair).partition("=")
                pairs.append((plain, rest))
            continue
        if b";" in pair:
            fault = fault or "invalid semicolon separator in query"
            continue
        unescape = _unescaped_pair_cached if len(pair) <= _CACHED_BYTES_MAX else _unescaped_pair
        name, value, bad = unescape(pair)
        if bad:
            fault = fault or f"invalid URL escape {quote(_text(bad))}"
        else:
            pairs.append((name, value))
    return pairs, fault


def _unescaped_pair(pair: bytes) -> tuple[str, str, bytes]:
    """Name and value of a pair, and its first malformed escape where it has one."""
    name, _, value = pair.partition(b"=")
    bad = b"%" in pair and (_BAD_ESCAPE.search(name) or _BAD_ESCAPE.search(value))
    return _unescaped(name), _unescaped(value), bad[0] if bad else b""


# A dashboard sends the same expressions again and again.
_unescaped_pair_cached = functools.lru_cache(_CACHED_PAIRS)(_unescaped_pair)


def _unescaped(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return text.decode("utf-8", "replace")


def _text(raw: bytes) -> str:
    """Bytes that are not UTF-8 become U+FFFD: nothing further in can be handed a broken string."""
    return raw.decode("utf-8", "replace")


def _multipart_pairs(body: bytes, content_type: bytes) -> list[tuple[str, str]]:
    """Fields of a multipart form (RFC 7578). Files are left out; a malformed body has no fields."""
    found = _BOUNDARY.search(content_type)
    if not found:
        return []
    mark = b"\r\n--" + found[1]
    parts = (b"\r\n" + body).split(mark, PAIRS_MAX)
    pairs: list[tuple[str, str]] = []
    for part in parts[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        name = _FIELD.search(head)
        if name and not _FILE.search(head):
            pairs.append((_text(name[1]), _text(content)))
    return pairs
