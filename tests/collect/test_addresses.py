"""The SSRF policy, as tables of spellings (threat S7)."""

import asyncio
import ipaddress
import socket

import pytest

from meterhall.collect import addresses
from meterhall.collect.addresses import AddressPolicy, AddressRefused, CheckedResolver, target_url

STRICT = AddressPolicy()
QUICKSTART = AddressPolicy(allow_loopback=True, own_listeners=[("127.0.0.1", 9481)])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "cloud metadata"),
        ("169.254.169.231", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("169.254.0.1", "link-local"),
        ("169.254.255.255", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        # The same, wrapped into IPv6: mapped, compatible, 6to4, NAT64, Teredo, ISATAP.
        ("::ffff:169.254.169.254", "cloud metadata"),
        ("::ffff:a9fe:a9fe", "cloud metadata"),
        ("::169.254.169.254", "cloud metadata"),
        ("2002:a9fe:a9fe::1", "cloud metadata"),
        ("64:ff9b::169.254.169.254", "cloud metadata"),
        ("64:ff9b::a9fe:a9e7", "cloud metadata"),
        ("64:ff9b:1::a9fe:a9fe", "local-use NAT64"),
        ("2001:0:a9fe:a9fe::1", "cloud metadata"),
        ("2001:0:1.2.3.4:0:0:5601:5601".replace("1.2.3.4", "102:304"), "cloud metadata"),
        ("2001:db8::5efe:a9fe:a9fe", "cloud metadata"),
        ("2001:db8::200:5efe:a9fe:a9fe", "cloud metadata"),
        ("::ffff:224.0.0.1", "multicast"),
        ("::ffff:0.0.0.0", "unspecified"),
    ],
)
@pytest.mark.parametrize("policy", [STRICT, QUICKSTART])
def test_always_refused(policy, address, reason):
    with pytest.raises(AddressRefused, match=f"^address refused: {reason}$"):
        policy.check(address, 9100)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
)
def test_loopback_is_a_setting(address):
    with pytest.raises(AddressRefused, match="loopback"):
        STRICT.check(address, 9100)
    QUICKSTART.check(address, 9100)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.5",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "8.8.8.8",
        "2001:db8::1",
        "fd12:3456::1",
    ],
)
def test_ordinary_addresses_pass(address):
    STRICT.check(address, 9100)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::5"])
def test_configured_networks_are_refused(address):
    networks = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd12::/16")]
    policy = AddressPolicy(refused_networks=networks)
    with pytest.raises(AddressRefused, match="configuration"):
        policy.check(address, 9100)
    policy.check("10.2.0.1", 9100)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_own_listener_is_refused_even_where_loopback_is_allowed(address):
    with pytest.raises(AddressRefused, match="listener of this server"):
        QUICKSTART.check(address, 9481)
    QUICKSTART.check(address, 9482)


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "[::]", "our-name.example", ""])
def test_a_listener_on_all_addresses_is_found_on_each_of_them(monkeypatch, listening):
    policy = AddressPolicy(own_listeners=[(listening, 9481)])
    own = ipaddress.ip_address("192.0.2.7")
    monkeypatch.setattr(addresses, "_addresses_of_this_machine", lambda: frozenset([own]))
    with pytest.raises(AddressRefused, match="listener of this server"):
        policy.check("192.0.2.7", 9481)
    policy.check("192.0.2.8", 9481)
    policy.check("192.0.2.7", 9482)


def test_addresses_of_this_machine_hold_loopback():
    assert ipaddress.ip_address("127.0.0.1") in addresses._addresses_of_this_machine()


@pytest.mark.parametrize(
    ("host", "port", "path", "url"),
    [
        ("10.0.0.1", 9100, "/metrics", "http://10.0.0.1:9100/metrics"),
        ("web-1.example.com", 1, "/", "http://web-1.example.com:1/"),
        ("web_1", 65535, "/m", "http://web_1:65535/m"),
        ("2001:db8::1", 80, "/m", "http://[2001:db8::1]:80/m"),
        ("[2001:db8::1]", 80, "/m", "http://[2001:db8::1]:80/m"),
        ("[2001:0db8:0::1]", 80, "/m", "http://[2001:db8::1]:80/m"),
        ("h", 80, "/m?a=b&c[]=d", "http://h:80/m?a=b&c%5B%5D=d"),
        ("h", 80, "/a b", "http://h:80/a%20b"),
        ("h", 80, "/a%20b%2F", "http://h:80/a%20b%2F"),
        ("h", 80, "/käse", "http://h:80/k%C3%A4se"),
        ("h", 80, "/../../x", "http://h:80/../../x"),
        ("h", 80, "/x//y", "http://h:80/x//y"),
        ("h", 80, "/x?u=http://169.254.169.254/", "http://h:80/x?u=http://169.254.169.254/"),
        ("h", 80, "/@evil", "http://h:80/@evil"),
        ("h", 80, '/"<>`\\', "http://h:80/%22%3C%3E%60%5C"),
    ],
)
def test_target_url(host, port, path, url):
    assert target_url(host, port, path) == url


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "2852039166",
        "0xA9FEA9FE",
        "0XA9FEA9FE",
        "0177.0.0.1",
        "0251.254.169.254",
        "169.254.43518",
        "127.1",
        "1.2.3.0x10",
        "1.2.3.4.",
        "1.2.3.4.5",
        "256.1.1.1",
        "user@host",
        "user:pw@host",
        "//host",
        "host/",
        "host:80",
        "host#",
        "host?",
        "http://host",
        "[::1",
        "[127.0.0.1]",
        "[host]",
        "ho st",
        "host\r\nX: y",
        "host\x00",
        "host%00",
        "１２７.0.0.1",  # noqa: RUF001 - full-width digits, which some resolvers fold.
        "ⓛocalhost",
        "hóst",
        "a" * 64,
        "a." * 127 + "a",
    ],
)
def test_hosts_that_are_no_hosts(host):
    with pytest.raises(AddressRefused, match="neither an IP address nor a name"):
        target_url(host, 80, "/metrics")


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
def test_ports_that_are_no_ports(port):
    with pytest.raises(AddressRefused, match="port"):
        target_url("h", port, "/")
    with pytest.raises(AddressRefused, match="port"):
        STRICT.check("10.0.0.1", port)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "metrics",
        "http://169.254.169.254/",
        "@evil/",
        ":80/",
        "//evil/x",
        "/\\evil",
        "/x#y",
        "/x\r\nHost: evil",
        "/x\ny",
        "/\x00",
        "/\x7f",
        "/\u2028",
        "/\u202e",
        "/\ud800",
    ],
)
def test_paths_that_could_leave_the_host(path):
    with pytest.raises(AddressRefused, match="the path"):
        target_url("h", 80, path)


def resolve(policy, host, port=9100):
    async def run():
        resolver = CheckedResolver(policy)
        try:
            return await resolver.resolve(host, port)
        finally:
            await resolver.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "2130706433", "0x7f000001", "0177.0.0.1", "::1"]
)
def test_whatever_the_c_library_takes_for_loopback_is_refused(host):
    with pytest.raises(AddressRefused, match="loopback"):
        resolve(STRICT, host)


def test_localhost_with_a_dot_gets_nowhere():
    # Some C libraries know the name from /etc/hosts, others ask a name server for it.
    with pytest.raises((AddressRefused, socket.gaierror)):
        resolve(STRICT, "localhost.")


@pytest.mark.parametrize("host", ["2852039166", "0xA9FEA9FE", "0251.254.169.254", "169.254.43518"])
def test_whatever_the_c_library_takes_for_metadata_is_refused(host):
    with pytest.raises(AddressRefused, match="cloud metadata"):
        resolve(QUICKSTART, host)


def test_an_allowed_name_resolves_to_numbers_only():
    found = resolve(QUICKSTART, "localhost")
    assert {result["host"] for result in found} <= {"127.0.0.1", "::1"}
    assert all(result["flags"] & socket.AI_NUMERICHOST for result in found)


def test_one_bad_address_among_good_ones_refuses_the_name(monkeypatch):
    def getaddrinfo(host, port, **kwargs):
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))
        bad = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))
        return [good, bad]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(AddressRefused, match="cloud metadata"):
        resolve(STRICT, "two-faced.example")


def test_the_socket_factory_is_the_last_wall():
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(AddressRefused):
        QUICKSTART.open_socket(info)
    with pytest.raises(AddressRefused, match="not an internet address"):
        QUICKSTART.open_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/run/x"))
    QUICKSTART.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))).close()
