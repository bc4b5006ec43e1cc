"""Where collection may connect to: one policy, asked before every connection.

Targets are written by tenants, so a target is a request that someone else makes from inside our network
(server-side request forgery). The defence is one path: a host is parsed strictly, resolved once, *every*
address it resolves to is checked, and the connection is made to those very addresses. aiohttp asks
`CheckedResolver` for names and `AddressPolicy.open_socket` for each socket, so that even an address that
came by another way is checked at the last moment before `connect`. A name that answers differently the
second time (rebinding) gains nothing: what was checked is what is connected to.

Always refused: "this network" (0/8), link-local, multicast, broadcast and reserved, the metadata services
of the clouds, and all of these when wrapped into IPv6 (mapped, compatible, 6to4, NAT64, Teredo, ISATAP).
Loopback is refused unless the settings allow it, and our own listeners are refused always.
"""

import asyncio
import functools
import ipaddress
import socket
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import psutil
from aiohttp.abc import AbstractResolver, ResolveResult

from meterhall.model.errors import BadInput

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
# What socket.getaddrinfo yields and aiohttp passes to a socket factory.
AddressInfo = tuple[
    int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]

PORT_MAX = 65535
HOST_NAME_CHARS_MAX = 253
HOST_LABEL_CHARS_MAX = 63
_NAME_CHARS = frozenset(string.ascii_letters + string.digits + "-_.")

# Names by what they stand for, because the reason is shown to the tenant. The first hit wins.
_REFUSED: Final[Sequence[tuple[str, IPNetwork]]] = tuple(
    (reason, ipaddress.ip_network(text))
    for reason, text in (
        ("cloud metadata", "169.254.169.254/32"),
        ("cloud metadata", "169.254.169.231/32"),
        ("cloud metadata", "100.100.100.200/32"),
        ("cloud metadata", "fd00:ec2::254/128"),
        ("cloud metadata", "fd20:ce::254/128"),
        ("link-local", "169.254.0.0/16"),
        ("link-local", "fe80::/10"),
        ("site-local", "fec0::/10"),
        ("unspecified", "0.0.0.0/8"),
        ("unspecified", "::/128"),
        ("multicast", "224.0.0.0/4"),
        ("multicast", "ff00::/8"),
        ("broadcast", "255.255.255.255/32"),
        ("reserved", "240.0.0.0/4"),
        ("local-use NAT64", "64:ff9b:1::/48"),
        ("discard-only", "100::/64"),
    )
)
_LOOPBACK: Final[Sequence[IPNetwork]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_LOW_32_BITS: Final = 0xFFFF_FFFF
# ISATAP (RFC 5214): the interface identifier is 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP_MARKS: Final = frozenset((0x0000_5EFE, 0x0200_5EFE))


class AddressRefused(BadInput):
    """A host, port or address that collection must not connect to. The text is fit to be shown."""


class Reach(Protocol):
    """What one fetcher may connect to."""

    def resolver(self) -> AbstractResolver:
        """Names to addresses that may be connected to."""
        ...

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """aiohttp's socket factory. Raises AddressRefused for an address that may not be connected to."""
        ...


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be connected to. `own_listeners` are (host, port) pairs that this server listens on."""

    allow_loopback: bool = False
    refused_networks: Sequence[IPNetwork] = ()
    own_listeners: Sequence[tuple[str, int]] = ()

    def check(self, address: str, port: int) -> None:
        """Raises AddressRefused unless this address, in its canonical spelling, may be connected to."""
        check_port(port)
        # A zone (fe80::1%eth0) names an interface of ours; only link-local addresses have one.
        ip = ipaddress.ip_address(address.partition("%")[0])
        for form in (ip, *_embedded(ip)):
            reason = self._reason(form, port)
            if reason is not None:
                raise AddressRefused(f"address refused: {reason}")

    def resolver(self) -> "CheckedResolver":
        """Names to addresses that this policy has passed."""
        return CheckedResolver(self)

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """aiohttp's socket factory: checks the address that is about to be connected to."""
        family, kind, proto, _, sockaddr = info
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise AddressRefused("address refused: not an internet address")
        self.check(str(sockaddr[0]), int(sockaddr[1]))
        return socket.socket(family, kind, proto)

    def _reason(self, ip: IPAddress, port: int) -> str | None:
        if self._is_own_listener(ip, port):
            return "a listener of this server"
        for reason, network in _REFUSED:
            if ip in network:
                return reason
        if not self.allow_loopback and _is_loopback(ip):
            return "loopback"
        if any(ip in network for network in self.refused_networks):
            return "in a network that the configuration refuses"
        return None

    def _is_own_listener(self, ip: IPAddress, port: int) -> bool:
        for text, own_port in self.own_listeners:
            if port != own_port:
                continue
            own = _listening_address(text)
            if ip == own or (_is_loopback(ip) and (_is_loopback(own) or own.is_unspecified)):
                return True
            if own.is_unspecified and ip in _addresses_of_this_machine():
                return True
        return False


class CheckedResolver(AbstractResolver):
    """Names to addresses, all of which the policy has passed; numeric hosts go the same way.

    Lookups run on threads of their own: a name server that does not answer holds up neither the event
    loop nor anyone else's thread pool.
    """

    def __init__(self, policy: AddressPolicy, threads: int = 8) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a host. Raises AddressRefused if any of them is refused, OSError if none."""
        lookup = functools.partial(
            socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM
        )
        infos = await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        found = []
        for info_family, _, proto, _, sockaddr in infos:
            address = str(sockaddr[0])
            self._policy.check(address, port)
            found.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=info_family,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    async def close(self) -> None:
        """Lets lookups in hand end by themselves; nothing waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def target_url(host: str, port: int, path: str) -> str:
    """`http://host:port/path`, built from parts that cannot reach into one another.

    `host` is an IP address (IPv6 with or without brackets) or a name, `path` begins with one `/` and may
    have a query. Characters that a URL cannot hold are percent-encoded; existing escapes stay.
    Raises AddressRefused with what is wrong.
    """
    check_port(port)
    return f"http://{_checked_host(host)}:{port}{_checked_path(path)}"


def check_port(port: int) -> None:
    """Raises AddressRefused unless the port is one that can be connected to."""
    if not 1 <= port <= PORT_MAX:
        raise AddressRefused(f"port {port} is not between 1 and {PORT_MAX}")


def _checked_host(host: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        pass
    else:
        if ip.version == 4 and bare is not host:
            raise AddressRefused("the host is neither an IP address nor a name")
        # str() drops what a URL cannot say: a zone is only legal on link-local addresses anyway.
        return str(ip) if ip.version == 4 else f"[{str(ip).partition('%')[0]}]"
    if not _is_host_name(host):
        raise AddressRefused("the host is neither an IP address nor a name")
    return host


def _is_host_name(host: str) -> bool:
    """Letters, digits, `-`, `_` in labels; and not one of the many spellings of an IPv4 address.

    The C library takes `2852039166`, `0xA9FEA9FE`, `0251.254.169.254` and `127.1` for addresses. No real
    name ends in a label that begins with a digit and could be read as a number, so such hosts are refused.
    """
    labels = host.removesuffix(".").split(".")
    return (
        0 < len(host) <= HOST_NAME_CHARS_MAX
        and _NAME_CHARS.issuperset(host)
        and all(0 < len(label) <= HOST_LABEL_CHARS_MAX for label in labels)
        and not labels[-1].isdigit()
        and not labels[-1].lower().startswith("0x")
    )


def _checked_path(path: str) -> str:
    if not path.startswith("/"):
        raise AddressRefused("the path does not begin with /")
    if path.startswith(("//", "/\\")):
        raise AddressRefused("the path begins with two slashes, which could name another host")
    if "#" in path:
        raise AddressRefused("the path has a fragment")
    if not path.isprintable():
        raise AddressRefused("the path holds a control character")
    return "".join(char if char in _PATH_CHARS else _percent_encoded(char) for char in path)


# RFC 3986: what may stand in path and query, and the sign of an escape that is already there.
_PATH_CHARS = frozenset(string.ascii_letters + string.digits + "/?%:@!$&'()*+,;=-._~")


def _percent_encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _embedded(ip: IPAddress) -> Sequence[IPAddress]:
    """IPv4 addresses that packets to this IPv6 address may end up at."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ()
    forms: list[IPAddress] = [
        form for form in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if form is not None
    ]
    low = ipaddress.IPv4Address(int(ip) & _LOW_32_BITS)
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        forms.append(low)
    if (int(ip) >> 32) & _LOW_32_BITS in _ISATAP_MARKS:
        forms.append(low)
    return forms


def _listening_address(host: str) -> IPAddress:
    """A listener's host as an address; a name stands for every address of this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ipaddress.IPv4Address(0)


def _is_loopback(ip: IPAddress) -> bool:
    return any(ip in network for network in _LOOPBACK)


def _addresses_of_this_machine() -> frozenset[IPAddress]:
    """Asked only when a port equals one that we listen on everywhere, so it is not kept."""
    return frozenset(
        ipaddress.ip_address(address.address.partition("%")[0])
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    )
