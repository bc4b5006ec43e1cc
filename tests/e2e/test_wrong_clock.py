"""A host whose clock is an hour off, and jumps: samples land at the service's time, none is lost, none doubled.

The agent runs under libfaketime, which changes what its wall clock says and leaves its up-time alone.
"""

from pathlib import Path

from e2e.agent import add_target, assert_complete, assert_in_time, numbers
from e2e.service import eventually


class WrongClock:
    """The wall clock of an agent. `set` moves it at once, by an offset such as `+1h`."""

    def __init__(self, file: Path, offset: str) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert libraries, "libfaketime is missing: tests/system-packages.sh installs it"
        self.file = file
        self.set(offset)
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            # The name that older versions know is the shorter one.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        aside = self.file.with_suffix(".new")
        aside.write_text(offset)
        aside.rename(self.file)


class Host:
    """An agent with such a clock, and the exporter beside it, whose clock is right."""

    def __init__(self, name, offset, agents, ledgers, directory) -> None:
        self.job = name
        self.clock = WrongClock(directory / f"{name}.clock", offset)
        self.agent = agents(name)
        self.ledger = ledgers(name)
        self.start()

    def start(self):
        self.agent.start(**self.clock.environment)


def two_pages_more(hosts):
    """Waits until each exporter has served so many."""
    goals = [(host.ledger, host.ledger.served + 2) for host in hosts]
    eventually(lambda: all(ledger.served >= goal for ledger, goal in goals))


def test_clocks_that_are_wrong_and_jump_move_no_sample(service, agents, ledgers, tmp_path):
    hosts = [
        Host(name, offset, agents, ledgers, tmp_path)
        for name, offset in (("fast", "+1h"), ("slow", "-1h"))
    ]
    fast, slow = hosts
    for host in hosts:
        add_target(service, host.agent, host.ledger.port, host.job)
    for host in hosts:
        eventually(lambda host=host: len(numbers(service, host.job)) >= 2)
        assert "clock.wrong" in host.agent.text

    # While the service is there, and while it is not.
    fast.clock.set("-1h")
    slow.clock.set("+1h")
    two_pages_more(hosts)
    service.kill()
    fast.clock.set("+0")
    slow.clock.set("+0")
    two_pages_more(hosts)

    # As after a start of the machine: nobody has told this agent the time, and its clock jumps by two hours.
    in_hand = {}
    for host in hosts:
        host.agent.kill()
        in_hand[host] = host.ledger.lost_in_hand(host.agent)
        (host.agent.directory / "clock.json").unlink()
    fast.clock.set("+1h")
    slow.clock.set("-1h")
    for host in hosts:
        host.start()
    two_pages_more(hosts)
    fast.clock.set("-1h")
    slow.clock.set("+1h")
    two_pages_more(hosts)
    service.start()
    for host in hosts:
        assert_complete(service, host.ledger, host.job, in_hand[host])
        assert_in_time(service, host.ledger, host.job)
        assert host.agent.stop() == 0
