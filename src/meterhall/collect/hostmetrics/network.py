"""Interfaces, protocols and sockets: netdev, netclass, netstat, sockstat, arp, conntrack, udp_queues."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from meterhall.collect.hostmetrics.page import Page, Roots, fields_of, number_of, text_of
from meterhall.model.regex import Regex

_RECEIVED = ("bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast")
_SENT = ("bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed")


def netdev(page: Page, roots: Roots) -> None:
    """Traffic of each interface."""
    names = [f"receive_{name}" for name in _RECEIVED] + [f"transmit_{name}" for name in _SENT]
    for line in text_of(roots.proc / "net/dev").split("\n")[2:]:
        device, _, counts = line.strip().rpartition(":")
        columns = dict(zip(names, counts.split(), strict=False))
        nohandler = number_of(roots.sys / "class/net" / device / "statistics/rx_nohandler")
        if nohandler is not None:
            columns["receive_nohandler"] = str(nohandler)
        for name, count in sorted(columns.items()):
            page.counter(
                f"node_network_{name}_total",
                f"Network device statistic {name}.",
                int(count),
                {"device": device},
            )


# File below /sys/class/net/<device>, metric.
_NETCLASS_COUNTERS = (
    ("carrier_changes", "carrier_changes_total"),
    ("carrier_up_count", "carrier_up_changes_total"),
    ("carrier_down_count", "carrier_down_changes_total"),
)
_NETCLASS_GAUGES = (
    ("addr_assign_type", "address_assign_type"),
    ("carrier", "carrier"),
    ("dev_id", "device_id"),
    ("dormant", "dormant"),
    ("flags", "flags"),
    ("ifindex", "iface_id"),
    ("iflink", "iface_link"),
    ("link_mode", "iface_link_mode"),
    ("mtu", "mtu_bytes"),
    ("name_assign_type", "name_assign_type"),
    ("netdev_group", "net_dev_group"),
    ("tx_queue_len", "transmit_queue_length"),
    ("type", "protocol_type"),
)
_FLAG_UP = 1
_BITS_PER_MEGABIT_AS_BYTES = 1_000_000 // 8


def netclass(page: Page, roots: Roots) -> None:
    """State of each interface. A file that the driver does not fill is left out."""
    for directory in sorted((roots.sys / "class/net").iterdir()):
        if not directory.is_dir():
            continue
        labels = {"device": directory.name}
        _netclass_info(page, directory)
        for file, name in _NETCLASS_COUNTERS:
            count = number_of(directory / file)
            if count is not None:
                page.counter(f"node_network_{name}", _property(name), count, labels)
        for file, name in _NETCLASS_GAUGES:
            value = number_of(directory / file)
            if value is not None:
                page.gauge(f"node_network_{name}", _property(name), value, labels)
        speed = number_of(directory / "speed")
        if speed is not None:
            value = speed * _BITS_PER_MEGABIT_AS_BYTES
            page.gauge("node_network_speed_bytes", _property("speed_bytes"), value, labels)


def _property(name: str) -> str:
    return f"Network device property: {name}"


def _netclass_info(page: Page, directory: Path) -> None:
    def word(file: str) -> str:
        try:
            return text_of(directory / file).strip()
        except OSError:
            return ""

    flags = number_of(directory / "flags") or 0
    state = word("operstate")
    page.gauge(
        "node_network_up",
        "Value is 1 if operstate is 'up', 0 otherwise.",
        int(state == "up"),
        {"device": directory.name},
    )
    page.gauge(
        "node_network_info",
        "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
        1,
        {
            "address": word("address"),
            "adminstate": "up" if flags & _FLAG_UP else "down",
            "broadcast": word("broadcast"),
            "device": directory.name,
            "duplex": word("duplex"),
            "ifalias": word("ifalias"),
            "operstate": state,
        },
    )


# node_exporter's default choice of fields.
_NETSTAT = Regex(
    "(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    "|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    "|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    "|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))"
)


def netstat(page: Page, roots: Roots) -> None:
    """Counters of the protocols."""
    for protocol, name, value in _protocol_counters(roots):
        if _NETSTAT.matches(f"{protocol}_{name}"):
            help_text = f"Statistic {protocol}{name}."
            page.add(f"node_netstat_{protocol}_{name}", "untyped", help_text, int(value))


def _protocol_counters(roots: Roots) -> Iterator[tuple[str, str, str]]:
    for file in ("netstat", "snmp"):
        lines = list(fields_of(roots.proc / "net" / file))
        # Lines come in pairs: names, then values.
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            for name, value in zip(names[1:], values[1:], strict=True):
                yield names[0].rstrip(":"), name, value
    snmp6 = roots.proc / "net/snmp6"
    if snmp6.exists():
        for field, value, *_ in fields_of(snmp6):
            protocol, six, name = field.partition("6")
            if six:
                yield f"{protocol}6", name, value


def sockstat(page: Page, roots: Roots) -> None:
    """Sockets in use by protocol; memory is counted in pages."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    for file in ("sockstat", "sockstat6"):
        path = roots.proc / "net" / file
        if file == "sockstat6" and not path.exists():
            continue
        for protocol, *pairs in fields_of(path):
            for name, value in zip(pairs[::2], pairs[1::2], strict=True):
                _sockets(page, protocol.rstrip(":"), name, int(value))
                if name == "mem":
                    _sockets(page, protocol.rstrip(":"), "mem_bytes", int(value) * page_bytes)


def _sockets(page: Page, protocol: str, name: str, value: int) -> None:
    if protocol == "sockets":
        page.gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.", value)
    else:
        help_text = f"Number of {protocol} sockets in state {name}."
        page.gauge(f"node_sockstat_{protocol}_{name}", help_text, value)


def arp(page: Page, roots: Roots) -> None:
    """Neighbours by interface."""
    devices = Counter(fields[-1] for fields in list(fields_of(roots.proc / "net/arp"))[1:])
    for device, entries in sorted(devices.items()):
        page.gauge("node_arp_entries", "ARP entries by device", entries, {"device": device})


_CONNTRACK = (
    ("found", "Number of searched entries which were successful."),
    ("invalid", "Number of packets seen which can not be tracked."),
    ("ignore", "Number of packets seen which are already connected to a conntrack entry."),
    ("insert", "Number of entries inserted into the list."),
    (
        "insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
    ),
    ("drop", "Number of packets dropped due to conntrack failure."),
    (
        "early_drop",
        (
            "Number of dropped conntrack entries to make room for new ones, if maximum table size"
            " was reached."
        ),
    ),
    (
        "search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
)


def conntrack(page: Page, roots: Roots) -> None:
    """Connection tracking, where its module is loaded."""
    netfilter = roots.proc / "sys/net/netfilter"
    page.gauge(
        "node_nf_conntrack_entries",
        "Number of currently allocated flow entries for connection tracking.",
        int(text_of(netfilter / "nf_conntrack_count")),
    )
    page.gauge(
        "node_nf_conntrack_entries_limit",
        "Maximum size of connection tracking table.",
        int(text_of(netfilter / "nf_conntrack_max")),
    )
    names, *processors = fields_of(roots.proc / "net/stat/nf_conntrack")
    for name, help_text in _CONNTRACK:
        if name in names:
            column = names.index(name)
            total = sum(int(fields[column], 16) for fields in processors)
            page.gauge(f"node_nf_conntrack_stat_{name}", help_text, total)


def udp_queues(page: Page, roots: Roots) -> None:
    """Bytes that wait in UDP sockets."""
    for file, version in (("udp", "v4"), ("udp6", "v6")):
        path = roots.proc / "net" / file
        if not path.exists():
            continue
        queues = [fields[4].split(":") for fields in list(fields_of(path))[1:]]
        for index, queue in enumerate(("tx", "rx")):
            page.gauge(
                "node_udp_queues",
                "Number of allocated memory in the kernel for UDP datagrams in bytes.",
                sum(int(pair[index], 16) for pair in queues),
                {"ip": version, "queue": queue},
            )
