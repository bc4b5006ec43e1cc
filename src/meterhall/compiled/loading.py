"""When kernels are loaded, and who may call them.

Numba takes a second of processor time and a hundred megabytes to load (docs/adr/0008), so nothing loads it that has no
use for it: not the start, not the agent, not a service of small queries. The first piece of work that is large enough asks for
the kernels and does without; a thread of its own loads them meanwhile. Where they cannot be had they stay absent,
and every caller has another way.
"""

import importlib
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# Each has its kernels as functions.
KERNEL_MODULES = ("points", "rows", "windows")


def _silent(_reason: str) -> None:
    pass


class Loader:
    """Kernel modules of this package by name. Thread-safe. `report` is told why there are none."""

    def __init__(self, names: Sequence[str] = KERNEL_MODULES) -> None:
        self._names = names
        self.report: Callable[[str], None] = _silent
        self._modules: dict[str, ModuleType] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def kernels(self, name: str, *, worth_loading: bool = False) -> Any:
        """The module, or None as long as it is not loaded; `worth_loading` begins to load it."""
        module = self._modules.get(name)
        if module is None and worth_loading and self._thread is None:
            self._begin()
        return module

    def wait(self) -> None:
        """Returns when nothing is being loaded any more; begins to, where nobody has."""
        self._begin()
        assert self._thread is not None, "bug: nothing was begun"
        self._thread.join()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name="kernels")
                self._thread.start()

    def _load(self) -> None:
        try:
            loaded = {
                name: importlib.import_module(f"{__package__}.{name}") for name in self._names
            }
        except (ImportError, OSError, RuntimeError) as error:
            # No Numba for this machine, or no directory where machine code could be kept.
            self.report(f"{type(error).__name__}: {error}")
        else:
            self._modules.update(loaded)


LOADER = Loader()
