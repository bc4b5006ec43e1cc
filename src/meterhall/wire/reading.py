"""How a collected page is read: whole, or, as agents report it, by its shape and words.

A shape (wire.agent_report) is all of a page but the last word of each line. The first page of a shape is read
with care; if each of its samples is a line `SERIES VALUE`, every later page of that shape would be read the
same way byte for byte, so only its words are read, all at once. Any other page is joined and read with care.
"""

from typing import Protocol

import cramjam

from meterhall.wire.agent_report import join_page
from meterhall.wire.page import Page, PageReader, Shape, line_of_sample, values_of

_ZSTD_LEVEL = 1


class KnownShape:
    """One shape under one media type. Shared by all targets whose pages have it; thread-safe.

    The text is kept compressed: it is wanted only where a page has to be joined again.
    """

    __slots__ = ("_packed", "_read", "content_type")

    def __init__(self, text: bytes, content_type: str) -> None:
        self._packed = bytes(cramjam.zstd.compress(text, level=_ZSTD_LEVEL))
        self.content_type = content_type
        # What its pages have in common, once one was read and where words alone tell the rest.
        self._read: Shape | None = None

    def page(self, words: bytes, samples_max: int) -> Page:
        """The page with these words. Raises as PageReader.read, and BadInput where their number is wrong."""
        shape = self._read
        if shape is not None and b"," not in words:
            values = values_of(words.replace(b"\n", b","), len(shape.series))
            if values is not None:
                return Page(shape, values, None)
        return self._read_carefully(words, samples_max)

    def joined(self, words: bytes) -> bytes:
        """The page's bytes. Raises BadInput where the number of words is wrong."""
        return join_page(bytes(cramjam.zstd.decompress(self._packed)), words)

    def _read_carefully(self, words: bytes, samples_max: int) -> Page:
        reader = PageReader(samples_max)
        page = reader.read(self.joined(words), self.content_type)
        if reader.repeatable and len(page.values) == words.count(b"\n") + 1:
            # Each word is a sample's value. Whoever comes first decides which of two equal objects is kept.
            self._read = self._read or page.shape
            return Page(self._read, page.values, page.times_ms)
        return page


class Reading(Protocol):
    """A page that was collected, to be read when it is wanted."""

    def page(self) -> Page:
        """Raises ExpositionError, and TooLarge where it is over a limit."""
        ...

    def line_of(self, sample: int) -> int:
        """The line of a sample, from 1, for an error text."""
        ...


class WordsReading:
    """A page that came as words."""

    __slots__ = ("_known", "_samples_max", "_words")

    def __init__(self, known: KnownShape, words: bytes, samples_max: int) -> None:
        self._known = known
        self._words = words
        self._samples_max = samples_max

    def page(self) -> Page:
        """Reads the words, or the page that they make."""
        return self._known.page(self._words, self._samples_max)

    def line_of(self, sample: int) -> int:
        """Joins the page to find it."""
        return line_of_sample(self._known.joined(self._words), self._known.content_type, sample)


class BodyReading:
    """A page that came whole, read by its target's own reader."""

    __slots__ = ("_body", "_content_type", "_reader")

    def __init__(self, reader: PageReader, body: bytes, content_type: str) -> None:
        self._reader = reader
        self._body = body
        self._content_type = content_type

    def page(self) -> Page:
        """Reads the body."""
        return self._reader.read(self._body, self._content_type)

    def line_of(self, sample: int) -> int:
        """Reads the body again, up to the sample."""
        return line_of_sample(self._body, self._content_type, sample)
