"""Words, 64 bits without sign: in and out of bytes at any place, and the products and bits of two instructions.

The first byte of a word is its lowest, in memory too (`load` and `store` are for little-endian processors, as
all that Numba supports are).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterhall.compiled.jit import inlined, instruction, ir, types

Word = np.uint64
Text = NDArray[np.uint8]

_WORD, _WIDE = ir.IntType(64), ir.IntType(128)
_ONE, _BYTE = Word(1), Word(3)


def _place(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _WORD.as_pointer())


@instruction
def store(_typing: Any, text: Any, at: Any, word: Any) -> Any:
    """Writes the eight bytes of a word from `text[at]` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], values[0], values[1])
        builder.store(values[2], place, align=1)
        return context.get_dummy_value()

    return types.void(text, types.int64, types.uint64), generate


@instruction
def load(_typing: Any, text: Any, at: Any) -> Any:
    """The word of the eight bytes from `text[at]` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(
            _place(context, builder, signature.args[0], values[0], values[1]), align=1
        )

    return types.uint64(text, types.int64), generate


@instruction
def high_product(_typing: Any, a: Any, b: Any) -> Any:
    """The upper word of a product of 128 bits."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        wide = builder.mul(*(builder.zext(each, _WIDE) for each in values))
        return builder.trunc(builder.lshr(wide, ir.Constant(_WIDE, 64)), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


@instruction
def _leading_zeros(_typing: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ctlz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@inlined
def signed(word: Word) -> int:
    """A word below 2^63 as an integer that may meet others."""
    return int(np.int64(word))


@inlined
def zeros_last(word: Word) -> int:
    """How many of the last bytes are zero; 8 of the word 0."""
    return signed(_leading_zeros(word) >> _BYTE)


@inlined
def zeros_first(word: Word) -> int:
    """How many of the first bytes are zero, for a word that is not 0."""
    return 7 - signed(_leading_zeros(word & (~word + _ONE)) >> _BYTE)
