"""A transport that sends an answer's head and body in one go.

uvicorn writes them one after the other, and uvloop sends each at once: two system calls, two packets, and a client that is
woken for a head it can do nothing with. A write that comes alone goes out before the loop's next turn ends.
"""

import asyncio
from typing import Any


class Gathering(asyncio.Transport):
    """Has `transport` send; everything but writing is its own business."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        # A first write, of which it is not known yet whether another follows.
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keeps the first write of a turn until there is a second, or the turn is over."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines([held, data])
        elif data:
            self._held = bytes(data)
            self._loop.call_soon(self._send_held)

    def close(self) -> None:
        """Sends what was written, then closes."""
        self._send_held()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._held = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Reads no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on."""
        self._transport.resume_reading()

    def _send_held(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
