"""A classic text exposition page under construction, and reading the kernel's small files.

Families keep the order in which they were first named; a sample may be added to any family at any time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["counter", "gauge", "untyped"]
Number = int | float


class Page:
    """Collects samples by family and renders them."""

    def __init__(self) -> None:
        self.families: dict[str, list[str]] = {}

    def add(
        self,
        name: str,
        kind: Kind,
        help_text: str,
        value: Number,
        labels: dict[str, str] | None = None,
    ) -> None:
        """One sample. Kind and help of a family are those of its first sample."""
        lines = self.families.get(name)
        if lines is None:
            lines = [f"# HELP {name} {_escaped_help(help_text)}", f"# TYPE {name} {kind}"]
            self.families[name] = lines
        lines.append(f"{name}{_rendered(labels)} {value}")

    def gauge(
        self, name: str, help_text: str, value: Number, labels: dict[str, str] | None = None
    ) -> None:
        """A sample of a gauge."""
        self.add(name, "gauge", help_text, value, labels)

    def counter(
        self, name: str, help_text: str, value: Number, labels: dict[str, str] | None = None
    ) -> None:
        """A sample of a counter."""
        self.add(name, "counter", help_text, value, labels)

    def merge(self, other: "Page") -> None:
        """Takes over another page's families, which must not be known here yet."""
        assert not self.families.keys() & other.families.keys()
        self.families.update(other.families)

    def render(self) -> bytes:
        """The page as bytes, UTF-8."""
        lines = [line for family in self.families.values() for line in family]
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")


# A source adds what it finds below `proc` and `sys` to a page. It raises OSError or ValueError where the
# kernel does not offer it, which costs this source's families only.
Source = Callable[[Page, "Roots"], None]


class Roots:
    """Where the kernel's and the system's files are; tests put a copy elsewhere."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.proc = root / "proc"
        self.sys = root / "sys"
        self.etc = root / "etc"
        self.run = root / "run"


def text_of(path: Path) -> str:
    """A small file's content without the final newline. Bytes that are not UTF-8 are kept as surrogates."""
    return path.read_text("utf-8", "surrogateescape").rstrip("\n")


def number_of(path: Path) -> int | None:
    """A file that holds one number, decimal or hexadecimal; None where it is missing or says nothing."""
    try:
        return int(text_of(path).strip(), 0)
    except (OSError, ValueError):
        return None


def fields_of(path: Path) -> Iterator[list[str]]:
    """The lines of a file, cut at white space; empty lines are left out."""
    for line in text_of(path).split("\n"):
        fields = line.split()
        if fields:
            yield fields


def _rendered(labels: dict[str, str] | None) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # Device names and mount points are bytes to the kernel; what is not UTF-8 becomes U+FFFD.
    valid = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return valid.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
