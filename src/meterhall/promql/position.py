"""Positions in a query text: byte offsets, and `line:col` as Prometheus prints them.

Columns count bytes of UTF-8 from 1, lines count from 1 (promql/parser/posrange).
"""

from itertools import accumulate

from meterhall.model.errors import PromQLError


def line_col(text: str, offset: int) -> tuple[int, int]:
    """Line and column of the byte at `offset` of the UTF-8 form of `text`."""
    before = utf8(text)[:offset]
    return before.count(b"\n") + 1, offset - before.rfind(b"\n")


def utf8(text: str) -> bytes:
    """The bytes that offsets count; a lone surrogate passes as three bytes."""
    return text.encode("utf-8", "surrogatepass")


def byte_offsets(text: str) -> list[int] | None:
    """For each character index the byte offset, one more for the end; None where they are the same."""
    if text.isascii():
        return None
    return list(accumulate((_utf8_length(char) for char in text), initial=0))


def parse_error(text: str, offset: int | None, reason: str) -> PromQLError:
    """The error with Prometheus' prefix. An empty text has no positions."""
    if offset is None or not text:
        return PromQLError(f"unknown position: parse error: {reason}")
    line, column = line_col(text, offset)
    return PromQLError(f"{line}:{column}: parse error: {reason}")


def _utf8_length(char: str) -> int:
    code = ord(char)
    if code < 0x80:
        return 1
    if code < 0x800:
        return 2
    return 3 if code < 0x10000 else 4
