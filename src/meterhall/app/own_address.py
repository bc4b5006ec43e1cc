"""Which of this machine's addresses others would see."""

import contextlib
import socket


def own_address() -> str:
    """The address this machine would use towards others; nothing is sent to find it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # A documentation address (RFC 5737): connecting a datagram socket only picks a route.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"
