"""S8 and S22: whatever the service names, the agent fetches on its own host and nowhere else."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.collect.conftest import make_target
from tests.collect.servers import raw, response, serving

from meterhall.agent.reach import LOCALHOST, HostReach, own_addresses
from meterhall.collect.addresses import AddressRefused
from meterhall.collect.fetch import Failure, FailureKind, Fetcher, FetchSettings, Page

PAGE = response(b"a 1\n")


async def fetched(target):
    """What one fetch brings."""
    with ThreadPoolExecutor(1) as workers:
        fetcher = Fetcher(HostReach(), FetchSettings(), workers)
        try:
            async with fetcher.fetch(target) as outcome:
                return outcome
        finally:
            await fetcher.close()


def test_its_own_loopback_is_reached():
    async def scenario():
        async with serving(raw(PAGE)) as port:
            return await fetched(make_target(address=LOCALHOST, port=port))

    assert asyncio.run(scenario()) == Page(b"a 1\n", "text/plain")


def test_an_exporter_on_one_of_the_hosts_own_addresses_alone_is_reached():
    others = [address for address in own_addresses() if not address.startswith(("127.", "::1"))]
    if not others:
        pytest.skip("this machine has no address but loopback")

    async def scenario():
        async with serving(raw(PAGE), host=others[0]) as port:
            return await fetched(make_target(address=LOCALHOST, port=port))

    assert asyncio.run(scenario()) == Page(b"a 1\n", "text/plain")


def test_a_port_that_nobody_listens_on():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        outcome = asyncio.run(fetched(make_target(address=LOCALHOST, port=port)))
    assert outcome == Failure(FailureKind.CONNECT, "connection refused")


# Documentation addresses, the clouds' metadata services, and spellings of both.
ELSEWHERE = [
    "192.0.2.1",
    "169.254.169.254",
    "169.254.169.231",
    "fd00:ec2::254",
    "::ffff:192.0.2.1",
    "fe80::1",
    "0.0.0.0",
    "example.com",
    "localhost.example.com",
    "localhost.",
    "metadata.google.internal",
]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_no_other_address_is_ever_connected_to(address):
    outcome = asyncio.run(fetched(make_target(address=address, port=80)))
    assert outcome.kind is FailureKind.REFUSED


@pytest.mark.parametrize("sockaddr", [("192.0.2.1", 80), ("169.254.169.254", 80)])
def test_a_socket_is_checked_again(sockaddr):
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)
    with pytest.raises(AddressRefused):
        HostReach().open_socket(info)


PATHS = [
    "//elsewhere.example/metrics",
    "/\\elsewhere.example",
    "http://elsewhere.example/",
    "@elsewhere.example/",
    "metrics",
    "/a#b",
    "/a\r\nHost: elsewhere",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_elsewhere(path):
    outcome = asyncio.run(fetched(make_target(address=LOCALHOST, port=80, metrics_path=path)))
    assert outcome.kind is FailureKind.REFUSED


@pytest.mark.parametrize(
    "location", ["http://192.0.2.1/", "http://169.254.169.254/latest", "file:///etc/passwd"]
)
def test_no_redirect_is_followed(location):
    answer = response(b"", f"Location: {location}", status="302 Found")

    async def scenario():
        async with serving(raw(answer)) as port:
            return await fetched(make_target(address=LOCALHOST, port=port))

    assert asyncio.run(scenario()) == Failure(FailureKind.HTTP, "302 Found", 302)


def test_loopback_comes_first():
    addresses = own_addresses()
    assert addresses[0] == "127.0.0.1"
    assert not any(address.startswith(("169.254.", "fe80:")) for address in addresses)
