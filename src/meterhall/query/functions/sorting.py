"""sort, sort_desc and sort_by_label: order matters in instant queries only."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from meterhall.model.labels import Labels, label_value
from meterhall.query.frame import Frame, Value
from meterhall.query.functions.invocation import Function, Invocation

_Natural = tuple[tuple[bool, int, str], ...]


def by_value(*, descending: bool) -> Function:
    """Elements ordered by value, NaN last."""

    def evaluate(call: Invocation) -> Value:
        frame = call.vector(0)
        if call.steps.count > 1:
            call.annotations.ineffective_sort(call.node.span)
            return frame
        keys = frame.values[:, 0]
        order = np.lexsort((-keys if descending else keys, np.isnan(keys)))
        return frame.rows(order)

    return evaluate


def by_label(*, descending: bool) -> Function:
    """Elements ordered naturally (numbers in text by size) by the labels named, then by all."""

    def evaluate(call: Invocation) -> Value:
        frame = call.vector(0)
        if call.steps.count > 1:
            call.annotations.ineffective_sort(call.node.span)
            return frame
        names = [call.text(index) for index in range(1, call.argument_count())]
        return _reordered(frame, names, descending=descending)

    return evaluate


def _reordered(frame: Frame, names: Sequence[str], *, descending: bool) -> Frame:
    def key(row: int) -> tuple[tuple[_Natural, ...], Labels]:
        labels = frame.labels[row]
        return tuple(_natural(label_value(labels, name)) for name in names), labels

    order = sorted(range(len(frame.labels)), key=key, reverse=descending)
    return frame.rows(np.array(order, np.int64))


def _natural(text: str) -> _Natural:
    """Chunks of digits and of other characters; digits compare as numbers and before the others."""
    chunks = ("".join(chunk) for _, chunk in groupby(text, _is_digit))
    return tuple(
        (False, int(chunk), "") if _is_digit(chunk[0]) else (True, 0, chunk) for chunk in chunks
    )


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


SORTING: dict[str, Function] = {
    "sort": by_value(descending=False),
    "sort_desc": by_value(descending=True),
    "sort_by_label": by_label(descending=False),
    "sort_by_label_desc": by_label(descending=True),
}
