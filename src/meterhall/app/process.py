"""Settings of the interpreter and of the allocator, made once before anything runs.

Figures: `docs/adr/0005-one-process.md`.
"""

import contextlib
import ctypes
import gc
import os
import resource
import sys

# A thread that computes in Python holds the lock for this long before the event loop gets its turn.
_SWITCH_INTERVAL_S = 0.0001

# Python's own thresholds (700, 10, 10) walk the head's label tuples, which never make a cycle, again and again
# while a page is read: 2.37 CPU seconds per million samples scraped, against 0.77 with these.
_GC_THRESHOLDS = (200_000, 50, 1000)

# glibc's mallopt(3) parameters: keep large arrays' pages instead of giving them back at every free. One arena
# for all threads: with one each, every worker keeps the pages of its largest query (2.3 GB after 38 queries
# on 50,000 series, against 0.5) and touches new ones for it.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_TRIM_BYTES, _TOP_PAD_BYTES, _MMAP_BYTES = 256 << 20, 16 << 20, 64 << 20


def tune() -> None:
    """Favours short waits of the event loop, and reuse of memory over returning it."""
    # Each target keeps a connection open; the usual soft limit of 1,024 would end at a thousand.
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.set_threshold(*_GC_THRESHOLDS)
    # Matrix products here are small; BLAS threads would fight the worker threads for the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        libc.mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    share_one_arena()


def share_one_arena() -> None:
    """All threads allocate from the same memory. Call it before there are any."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 1)
