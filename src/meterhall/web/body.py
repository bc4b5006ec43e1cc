"""Request bodies: read whole, within a size, a pace and a share of memory.

A body may take `grace_s`, plus a second for every `bytes_per_s_min` bytes that arrived: a client that trickles
is cut off, a slow but honest upload of 32 MiB is not. All bodies in hand together stay under
`in_hand_bytes_max`. A body that is too large is read on and thrown away for a while, because a client that is
still sending would see a reset connection instead of the 413.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Receive

from meterhall.model.errors import Overloaded, TooLarge
from meterhall.web.errors import ClientGone, Refused

_DISCARDED_BYTES_MAX = 64 << 20
_COURTESY_BYTES_MAX = 1 << 20
_COURTESY_S = 2.0


@dataclass(frozen=True, slots=True)
class BodySettings:
    """How patient the server is with bodies."""

    grace_s: float = 20.0
    bytes_per_s_min: int = 16_384
    in_hand_bytes_max: int = 512 << 20


class BodyReader:
    """Reads bodies on one event loop and counts the bytes that are in hand."""

    def __init__(self, settings: BodySettings) -> None:
        self._settings = settings
        self._in_hand = 0

    async def read(
        self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, bytes_max: int
    ) -> bytes:
        """The body. The caller gives it back with `release`.

        Raises TooLarge, Refused (408) where it comes too slowly, Overloaded where too much is in hand already,
        ClientGone.
        """
        declared, expects_continue = _announced(headers)
        if declared > bytes_max and expects_continue:
            raise _too_large(bytes_max)
        chunks: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        begun = loop.time()
        too_large = declared > bytes_max
        try:
            async with asyncio.timeout(self._settings.grace_s) as pace:
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunk = message.get("body", b"")
                    more = message.get("more_body", False)
                    size += len(chunk)
                    too_large = too_large or size > bytes_max
                    if not too_large:
                        self._take(chunk, chunks)
                    elif size > _DISCARDED_BYTES_MAX:
                        break
                    earned = size / self._settings.bytes_per_s_min
                    pace.reschedule(begun + self._settings.grace_s + earned)
            if too_large:
                raise _too_large(bytes_max)
        except BaseException as error:
            self._in_hand -= sum(map(len, chunks))
            if isinstance(error, TimeoutError):
                raise Refused(408, "timeout", "the request body arrived too slowly") from None
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self, body: bytes) -> None:
        """The body is no longer in hand."""
        self._in_hand -= len(body)

    def _take(self, chunk: bytes, chunks: list[bytes]) -> None:
        if self._in_hand + len(chunk) > self._settings.in_hand_bytes_max:
            raise Overloaded("too many request bodies at once; try again later")
        self._in_hand += len(chunk)
        chunks.append(chunk)


async def discard(receive: Receive) -> bool:
    """Reads what is left of a body that nobody wants, for a moment; whether it came to its end."""
    size = 0
    try:
        async with asyncio.timeout(_COURTESY_S):
            while size <= _COURTESY_BYTES_MAX:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, bool]:
    """The declared length (-1 where there is none), and whether the client waits for a 100."""
    declared, expects_continue = -1, False
    for name, value in headers:
        if name == b"content-length":
            declared = int(value)
        elif name == b"expect":
            expects_continue = value.lower() == b"100-continue"
    return declared, expects_continue


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {bytes_max} bytes")
