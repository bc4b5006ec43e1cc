"""The HTTP/1.1 protocol of the public listener: uvicorn's, with bounds on what a client may leave undone.

uvicorn bounds the pause between two requests and the number of connections, not the time or size of a request's
head, nor how long a client may leave an answer unread. Here:

- a head must be complete within `head_timeout_s` of the connection, or of its first byte on a kept connection, and
  may have `head_bytes_max` bytes (Go's net/http, and so Prometheus, allows as much): 408 or 431, and the connection ends;
- a reply that went out before its request's body was complete ends the connection, so that nobody can send a body for
  ever to a request that is answered already;
- a client that reads nothing for `stall_timeout_s` while an answer waits to be sent is cut off.

Bodies are bounded where they are read, in `body.py`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from meterhall.web.encode import encode_error
from meterhall.web.gathering import Gathering


@dataclass(frozen=True, slots=True)
class SlowClientSettings:
    """Patience of the public listener."""

    head_timeout_s: float = 10.0
    head_bytes_max: int = 1 << 20
    stall_timeout_s: float = 60.0


class HeadTimeoutProtocol(HttpToolsProtocol):
    """One connection; a class for uvicorn's `http` setting. Subclass it to set other `bounds`."""

    bounds = SlowClientSettings()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._head_begun = False
        self._body_complete = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Starts the clock of the first head."""
        super().connection_made(Gathering(transport, self.loop))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops all clocks."""
        self._head_arrived()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes while a head is incomplete."""
        super().data_received(data)
        if self._head_timer is None:
            # Most heads arrive whole, and are spared a clock.
            if not self._head_begun:
                return
            self._await_head()
        self._head_bytes += len(data)
        if self._head_bytes > self.bounds.head_bytes_max:
            self._refuse(
                b"431 Request Header Fields Too Large",
                "bad_data",
                "the request's head is too large",
            )

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._body_complete = False
        self._head_begun = True

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._head_arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is whole."""
        self._body_complete = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A reply is out."""
        # With a pipeline the newest body belongs to a later request.
        cut_short = not self._body_complete and not self.pipeline
        super().on_response_complete()
        if cut_short:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._stall_timer = self._later(self.bounds.stall_timeout_s, self._abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self._later(self.bounds.head_timeout_s, self._head_is_late)

    def _head_arrived(self) -> None:
        self._head_begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(b"408 Request Timeout", "timeout", "the request's head arrived too slowly")
        else:
            # A connection opened in advance and never used is no fault.
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed, a URL of more than 64 KiB among it."""
        self._refuse(b"400 Bad Request", "bad_data", f"{msg} A URL may have 65535 bytes.")

    def _refuse(self, status: bytes, error_type: str, reason: str) -> None:
        """Answers before any application is asked, in Prometheus' envelope, and ends the connection."""
        self._head_arrived()
        if self.transport.is_closing():
            return
        body = encode_error(error_type, reason)
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()

    def _abort(self) -> None:
        self.transport.abort()

    def _later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(delay_s, action)
