"""Where an agent fetches: its own host, whatever the service says.

A target is a port and a path. The URL is built from `localhost`, which is resolved here and not by the
system, to loopback first and then to the host's own addresses (some exporters listen on one of those alone).
Each socket is checked again before it is connected. So no word of the service's can make the agent leave
the host, and a cloud's metadata service, which is not on the host, cannot be reached.
"""

import ipaddress
import socket
from typing import Final

import psutil
from aiohttp.abc import AbstractResolver, ResolveResult

from meterhall.collect.addresses import AddressInfo, AddressRefused

LOCALHOST: Final = "localhost"


class HostReach:
    """Implements collect.addresses.Reach for this host alone."""

    def resolver(self) -> AbstractResolver:
        """`localhost` to the host's addresses, and nothing else to anything."""
        return _OwnAddresses()

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """A socket for one of the host's own addresses. Raises AddressRefused for any other."""
        family, kind, proto, _, sockaddr = info
        if str(sockaddr[0]) not in own_addresses():
            raise AddressRefused("address refused: not an address of this host")
        return socket.socket(family, kind, proto)


class _OwnAddresses(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host != LOCALHOST:
            raise AddressRefused("address refused: not this host")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in own_addresses()
        ]

    async def close(self) -> None:
        pass


def own_addresses() -> list[str]:
    """The host's addresses as they are now, loopback first. Link-local ones, which need a zone, are not used."""
    found = {
        ipaddress.ip_address(address.address)
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6) and "%" not in address.address
    }
    usable = [ip for ip in found if not ip.is_link_local]
    usable.sort(key=lambda ip: (not ip.is_loopback, ip.version, int(ip)))
    return [str(ip) for ip in usable]
