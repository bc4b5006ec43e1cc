"""How a raw setting, from TOML or from the environment, becomes a value. Each parser raises BadInput saying what is allowed.

Lists and tables come from the environment as text: `a,b` and `name=value,name=value`.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meterhall.model.errors import BadInput

_MS_PER_UNIT = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_BYTES_PER_UNIT = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# These patterns are ours, not a user's.
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")  # noqa: TID251
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")  # noqa: TID251
_REGION = re.compile(r"[a-z0-9-]{1,16}")  # noqa: TID251


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(raw: Any) -> ListenAddress:
    """`HOST:PORT`, the host of an IPv6 address in brackets."""
    text = parse_text(raw)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535 or not host:
        raise BadInput("allowed: HOST:PORT, for example 127.0.0.1:9480")
    return ListenAddress(host.strip("[]"), int(port))


class DurationMs(int):
    """Milliseconds that print as a setting is written: `15s`, `1h30m`."""

    def __str__(self) -> str:
        left, parts = int(self), []
        for unit, size in sorted(_MS_PER_UNIT.items(), key=lambda item: -item[1]):
            if count := left // size:
                parts.append(f"{count}{unit}")
                left -= count * size
        return "".join(parts) or "0s"


def parse_duration_ms(raw: Any) -> DurationMs:
    """`15s`, `1h30m`, `1y` to milliseconds; each unit at most once, larger ones first."""
    text = str(raw)
    parts = _DURATION.findall(text)
    units = [_MS_PER_UNIT[unit] for _, unit in parts]
    spelled = "".join(number + unit for number, unit in parts)
    if not parts or spelled != text or any(a <= b for a, b in itertools.pairwise(units)):
        raise BadInput("allowed: a duration such as 15s, 5m, 1h30m, 7d, 1y")
    return DurationMs(sum(int(number) * _MS_PER_UNIT[unit] for number, unit in parts))


def parse_bytes(raw: Any) -> int:
    """`16KiB`, `10MiB`, or a plain number of bytes."""
    match = _SIZE.fullmatch(str(raw))
    if match is None or match[2] not in _BYTES_PER_UNIT or int(match[1]) == 0:
        raise BadInput("allowed: a size such as 65536, 16KiB, 10MiB, 1GiB")
    return int(match[1]) * _BYTES_PER_UNIT[match[2]]


def parse_count(raw: Any) -> int:
    """A whole number from 1."""
    text = str(raw)
    if isinstance(raw, bool) or not text.isdecimal() or int(text) < 1:
        raise BadInput("allowed: a whole number from 1")
    return int(text)


def parse_ceiling(raw: Any) -> int:
    """A whole number from 0, where 0 is no ceiling."""
    text = str(raw)
    if isinstance(raw, bool) or not text.isdecimal():
        raise BadInput("allowed: a whole number from 0, where 0 is no limit")
    return int(text)


def parse_bool(raw: Any) -> bool:
    """`true` or `false`."""
    if str(raw).lower() not in ("true", "false"):
        raise BadInput("allowed: true, false")
    return str(raw).lower() == "true"


def parse_text(raw: Any) -> str:
    """Text that is not empty."""
    if not isinstance(raw, str) or not raw.strip():
        raise BadInput("allowed: text that is not empty")
    return raw


def parse_choice(*allowed: str, many: bool = False) -> Callable[[Any], Any]:
    """One of a few words, or a list of them."""

    def one(raw: Any) -> str:
        # TOML and people write on/off as booleans too.
        word = {True: "on", False: "off"}.get(raw, raw) if isinstance(raw, bool) else raw
        if word not in allowed:
            raise BadInput(f"allowed: {', '.join(allowed)}")
        return str(word)

    def several(raw: Any) -> tuple[str, ...]:
        return tuple(one(word) for word in _as_list(raw))

    return several if many else one


def parse_regions(raw: Any) -> tuple[str, ...]:
    """Region codes, at least one, each once."""
    codes = tuple(_as_list(raw))
    if not codes or len(set(codes)) != len(codes) or not all(map(_REGION.fullmatch, codes)):
        raise BadInput('allowed: a list of region codes, for example ["kr", "jp"]')
    return codes


def parse_networks(raw: Any) -> tuple[str, ...]:
    """Networks in CIDR notation."""
    try:
        return tuple(str(ipaddress.ip_network(text, strict=False)) for text in _as_list(raw))
    except ValueError:
        raise BadInput('allowed: a list of networks, for example ["10.0.0.0/8"]') from None


def parse_text_map(raw: Any) -> Mapping[str, str]:
    """A table of texts."""
    if isinstance(raw, str):
        pairs = [item.partition("=") for item in _as_list(raw)]
        raw = {name: value for name, _, value in pairs}
    if not isinstance(raw, dict) or not all(isinstance(item, str) for item in raw.values()):
        raise BadInput('allowed: a table of texts, for example { "kr1.example" = "kr" }')
    return raw


def _as_list(raw: Any) -> list[str]:
    if isinstance(raw, str):
        return [item.strip() for item in raw.split(",") if item.strip()]
    if isinstance(raw, list | tuple) and all(isinstance(item, str) for item in raw):
        return list(raw)
    raise BadInput('allowed: a list of texts, for example ["a", "b"]')
