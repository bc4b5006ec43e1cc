"""`series`, `labels` and `label/<name>/values` (contract 1.9), `metadata` (1.10)."""

import re
from collections.abc import Sequence
from typing import TypeVar

from meterhall.model.errors import BadInput
from meterhall.model.labels import quote
from meterhall.web.encode import Notes, encode_data, encode_series
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import Answer, Backend, Call
from meterhall.web.prometheus.queries import TRUNCATED

T = TypeVar("T")

_ESCAPED_PREFIX = "U__"
_HEX_CODE = re.compile("[0-9a-fA-F]{1,6}")  # noqa: TID251 - our own pattern
_SURROGATES = range(0xD800, 0xE000)
_CODE_POINTS = 0x110000


def series(backend: Backend, call: Call) -> Answer:
    """The label sets that any selector matches."""
    form = call.form
    if form.fault:
        raise BadInput(f"error parsing form values: {form.fault}")
    if not form.all("match[]"):
        raise BadInput("no match[] parameter provided")
    limit = params.limit_of(form)
    start_ms, end_ms = range_of(call)
    try:
        sets = params.matcher_sets(form.all("match[]"))
    except BadInput as error:
        raise params.invalid("match[]", error) from None
    reader = backend.store.reader(call.tenant)
    found, notes = _limited(reader.series(sets, start_ms, end_ms), limit)
    return encode_series(found, notes)


def labels(backend: Backend, call: Call) -> Answer:
    """The label names of all series, or of those that a selector matches."""
    limit = params.limit_of(call.form)
    start_ms, end_ms = range_of(call)
    sets = params.matcher_sets(call.form.all("match[]"))
    reader = backend.store.reader(call.tenant)
    return encode_data(*_limited(reader.label_names(sets, start_ms, end_ms), limit))


def label_values(backend: Backend, call: Call) -> Answer:
    """The values of one label."""
    name = label_of(call)
    limit = params.limit_of(call.form)
    start_ms, end_ms = range_of(call)
    sets = params.matcher_sets(call.form.all("match[]"))
    reader = backend.store.reader(call.tenant)
    return encode_data(*_limited(reader.label_values(name, sets, start_ms, end_ms), limit))


def metadata(backend: Backend, call: Call) -> Answer:
    """Type, help and unit by metric family. `limit=0` is an empty map here, and absent is no limit."""
    limit = _count(call, "limit")
    per_metric = _count(call, "limit_per_metric")
    wanted = call.form.first("metric")
    families = backend.catalog.families(call.tenant)
    if wanted:
        families = {wanted: families[wanted]} if wanted in families else {}
    data = {
        family: [
            {"type": entry.type, "unit": entry.unit, "help": entry.help}
            for entry in (entries[:per_metric] if per_metric > 0 else entries)
        ]
        for family, entries in families.items()
    }
    return encode_data(dict(list(data.items())[:limit]) if limit >= 0 else data)


def _count(call: Call, name: str) -> int:
    text = call.form.first(name)
    if not text:
        return -1
    try:
        return params.go_int(text)
    except BadInput:
        raise BadInput(f"{name} must be a number") from None


def label_of(call: Call) -> str:
    """The label whose values are asked for. Raises BadInput."""
    name = unescape_name(call.label_name)
    if not name or "\ufffd" in name:
        raise BadInput(f"invalid label name: {quote(name)}")
    return name


def range_of(call: Call) -> tuple[int, int]:
    """Start and end; all of time where they are absent. An end before the start matches nothing."""
    start_ms = params.optional_time_ms(call.form, "start", params.TIME_MS_MIN)
    end_ms = params.optional_time_ms(call.form, "end", params.TIME_MS_MAX)
    return start_ms, end_ms


def _limited(found: Sequence[T], limit: int) -> tuple[Sequence[T], Notes]:
    if 0 < limit < len(found):
        return found[:limit], Notes([TRUNCATED])
    return found, Notes()


def unescape_name(name: str) -> str:
    """The label name that `U__…` stands for; anything else, and anything malformed, as it is.

    Follows UnescapeName of prometheus/common for values escaping: `__` is `_`, `_hex_` a code point.
    """
    if not name.startswith(_ESCAPED_PREFIX):
        return name
    rest = name[len(_ESCAPED_PREFIX) :]
    out: list[str] = []
    position = 0
    while (mark := rest.find("_", position)) >= 0:
        out.append(rest[position:mark])
        close = rest.find("_", mark + 1)
        if close < 0:
            return name
        code = rest[mark + 1 : close]
        if not code:
            out.append("_")
        elif _HEX_CODE.fullmatch(code) and _is_scalar(int(code, 16)):
            out.append(chr(int(code, 16)))
        else:
            return name
        position = close + 1
    out.append(rest[position:])
    return "".join(out)


def _is_scalar(code: int) -> bool:
    return code < _CODE_POINTS and code not in _SURROGATES
