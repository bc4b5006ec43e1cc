"""Memory that a flush or a merge is done with, given back to the system.

The process keeps what it frees, because a query wants as much again at once (`app.process`). What reads whole blocks
every half hour would leave its pages behind for good.
"""

import contextlib
import ctypes


def give_back() -> None:
    """glibc's malloc_trim(3): some milliseconds, the interpreter's lock released. Elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
