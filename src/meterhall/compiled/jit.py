"""How kernels are compiled.

A kernel's signature is explicit, so that it is compiled, or its machine code found, where it is imported and never at
a call. Numba keeps the machine code in `__pycache__` beside the source, or in the user's cache directory where that cannot
be written, under the source's time and size and the processor's abilities.
Integers: an `int64` and a `uint64` make a float64 in Numba, so a Word meets nothing but Words.
"""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Neither library carries types.
_NUMBA: Any = importlib.import_module("numba")
types: Any = _NUMBA.types
ir: Any = importlib.import_module("llvmlite.ir")

# Division is by numbers that are not zero, so there is nothing to raise.
_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}


def reading(element: Any, dimensions: int) -> Any:
    """The type of a contiguous array that a kernel only reads."""
    return types.Array(element, dimensions, "C", readonly=True)


def kernel(result: Any, *arguments: Any) -> Callable[[F], F]:
    """A function that Python calls, with these types and no others."""

    def compiled(function: F) -> F:
        made: F = _NUMBA.njit(result(*arguments), **_OPTIONS)(function)
        return made

    return compiled


def routine(function: F) -> F:
    """A function that kernels call."""
    made: F = _NUMBA.njit(function, **_OPTIONS)
    return made


def inlined(function: F) -> F:
    """One that is put in place: small, or with arrays, whose references a call would count."""
    made: F = _NUMBA.njit(function, forceinline=True, **_OPTIONS)
    return made


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """What Python has no word for, given as LLVM code (numba.extending.intrinsic)."""
    made: Callable[..., Any] = _NUMBA.extending.intrinsic(function)
    return made
