"""A scrape's time is decided once, and by the service's clock where the host's is wrong."""

import pytest
from tests.agent.scrapes import FAILED

from meterhall.agent.spool_format import SpooledScrape
from meterhall.agent.timekeeping import AgentClock

HOUR = 3_600_000
TRUE_START = 1_700_000_000_000


class World:
    """True time runs when it is told to; the host's wall clock is off by what is set."""

    def __init__(self, off_by_ms=0, boot_id="boot-1", true_ms=TRUE_START):
        self.true_ms = true_ms
        self.booted_ms = true_ms - 50_000
        self.off_by_ms = off_by_ms
        self.boot_id = boot_id
        self.service_off_ms = 0

    def now_ms(self):
        return self.true_ms + self.off_by_ms

    def monotonic(self):
        return self.boot_ms() / 1000

    def boot_ms(self):
        return self.true_ms - self.booted_ms

    def pass_ms(self, milliseconds):
        self.true_ms += milliseconds

    def call(self, clock, takes_ms=4):
        """One call to the service, whose answer tells its time halfway."""
        sent = self.boot_ms()
        self.pass_ms(takes_ms // 2)
        service_ms = self.true_ms + self.service_off_ms
        self.pass_ms(takes_ms - takes_ms // 2)
        clock.hear(service_ms, sent, self.boot_ms())


def scraped(clock, start_ms, duration_s=0.0):
    """The scrape that began at `start_ms` of this clock and ends now, as it is kept."""
    stamp = clock.stamp(start_ms, duration_s)
    return SpooledScrape("t", stamp.time_ms, duration_s, FAILED, stamp.boot_id, stamp.boot_ms)


def sent_time(clock):
    """The time that is sent of a scrape made at this moment."""
    return clock.resolved(scraped(clock, clock.now_ms()))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "clock.json"


@pytest.mark.parametrize("off_by_ms", [0, 900, -900])
def test_within_a_second_the_hosts_own_time_stands(file, off_by_ms, capsys):
    world = World(off_by_ms)
    clock = AgentClock(world, file)
    world.call(clock)
    assert sent_time(clock) == world.now_ms()
    assert "clock" not in capsys.readouterr().out


@pytest.mark.parametrize("off_by_ms", [1_100, -1_100, HOUR, -HOUR, 40 * 365 * 24 * HOUR])
def test_beyond_it_the_services_does_with_a_warning(file, off_by_ms, capsys):
    world = World(off_by_ms)
    clock = AgentClock(world, file)
    world.call(clock)
    for _ in range(3):
        world.pass_ms(5000)
        assert sent_time(clock) == pytest.approx(world.true_ms, abs=3)
        world.call(clock)
    said = capsys.readouterr().out
    assert said.count("clock.wrong") == 1
    assert "warning" in said


@pytest.mark.parametrize("jump_ms", [HOUR, -HOUR, 5_000, -5_000])
def test_a_clock_that_jumps_moves_no_time(file, jump_ms, capsys):
    world = World()
    clock = AgentClock(world, file)
    world.call(clock)
    times = []
    for step in range(12):
        if step in (3, 7):
            world.off_by_ms += jump_ms if step == 3 else -jump_ms
        times.append(sent_time(clock) - world.true_ms)
        world.pass_ms(1000)
        world.call(clock)
    assert max(map(abs, times)) <= 3
    said = capsys.readouterr().out
    assert said.count("clock.wrong") == 1
    assert said.count("clock.right again") == 1


@pytest.mark.parametrize("off_by_ms", [HOUR, -HOUR, 0, 700])
def test_scrapes_before_the_first_contact_get_their_time_with_it(file, off_by_ms):
    """However the wall clock stood and jumped before, and in the next run as in this one."""
    world = World(off_by_ms)
    clock = AgentClock(world, file)
    made = []
    for step in range(6):
        made.append((scraped(clock, clock.now_ms()), world.true_ms))
        world.pass_ms(1000)
        if step == 2:
            world.off_by_ms += 3 * HOUR
    assert not clock.certain
    world.call(clock)
    own = abs(off_by_ms) <= 1000
    for scrape, true_ms in made:
        assert scrape.boot_id == "boot-1"
        expected = true_ms + off_by_ms if own else true_ms
        assert clock.resolved(scrape) == pytest.approx(expected, abs=0 if own else 3)
    decided = [clock.resolved(scrape) for scrape, _ in made]
    # Neither a better estimate nor another run changes what may have been sent.
    world.call(clock, takes_ms=1)
    world.call(clock, takes_ms=500)
    assert [clock.resolved(scrape) for scrape, _ in made] == decided
    again = AgentClock(world, file)
    assert again.certain
    assert [again.resolved(scrape) for scrape, _ in made] == decided


def test_the_next_run_within_one_start_of_the_machine_knows_the_time_at_once(file):
    world = World(HOUR)
    world.call(AgentClock(world, file))
    world.pass_ms(60_000)
    again = AgentClock(world, file)
    assert sent_time(again) == pytest.approx(world.true_ms, abs=3)


def test_scrapes_of_an_earlier_start_of_the_machine(file):
    """With contact then, they keep its word; without, the wall clock's, because there is no other."""
    early = World(HOUR, "boot-1")
    clock = AgentClock(early, file)
    with_contact = scraped(clock, clock.now_ms())
    early.call(clock)
    silent = World(HOUR, "boot-2", early.true_ms + 100_000)
    alone = AgentClock(silent, file)
    without_contact = scraped(alone, alone.now_ms())
    late = World(0, "boot-3", silent.true_ms + 100_000)
    now = AgentClock(late, file)
    late.call(now)
    assert now.resolved(with_contact) == pytest.approx(TRUE_START, abs=3)
    assert now.resolved(without_contact) == without_contact.time_ms


@pytest.mark.parametrize("off_by_ms", [HOUR, -HOUR])
def test_a_scrape_in_hand_when_the_time_is_set_right_is_set_right_too(file, off_by_ms):
    world = World(off_by_ms)
    clock = AgentClock(world, file)
    began_ms, true_ms = clock.now_ms(), world.true_ms
    world.pass_ms(300)
    world.call(clock)
    world.pass_ms(2000)
    kept = scraped(clock, began_ms, (world.true_ms - true_ms) / 1000)
    assert kept.boot_id is None
    assert kept.time_ms == pytest.approx(true_ms, abs=3)


def test_a_thread_that_is_late_moves_no_time(file):
    world = World()
    clock = AgentClock(world, file)
    world.call(clock)
    began_ms = clock.now_ms()
    world.pass_ms(9_000)
    # The page took a second; the rest was waiting for a thread.
    assert scraped(clock, began_ms, 1.0).time_ms == began_ms


def test_the_better_estimate_counts_until_the_services_clock_jumps(file):
    world = World(HOUR)
    clock = AgentClock(world, file)
    world.call(clock, takes_ms=2)
    kept = clock.now_ms() - world.true_ms
    sent = world.boot_ms()
    world.pass_ms(4000)
    # All of the four seconds were on the way back.
    clock.hear(world.true_ms - 4000, sent, world.boot_ms())
    assert clock.now_ms() - world.true_ms == kept
    world.service_off_ms = 10_000
    world.call(clock, takes_ms=2)
    assert clock.now_ms() - world.true_ms == pytest.approx(10_000, abs=3)


def test_a_first_word_that_cannot_be_written_down_is_not_taken(tmp_path):
    world = World(HOUR)
    clock = AgentClock(world, tmp_path / "missing" / "clock.json")
    with pytest.raises(FileNotFoundError):
        world.call(clock)
    assert not clock.certain
    (tmp_path / "missing").mkdir()
    world.call(clock)
    assert clock.certain


def test_a_damaged_file_counts_as_none(file, capsys):
    file.write_bytes(b"{rubbish")
    clock = AgentClock(World(), file)
    assert not clock.certain
    assert "clock.file_unreadable" in capsys.readouterr().out


def test_only_so_many_starts_are_kept(file):
    for number in range(70):
        world = World(boot_id=f"boot-{number}")
        world.call(AgentClock(world, file))
    assert file.read_bytes().count(b"boot-") == 64
    assert AgentClock(World(boot_id="boot-69"), file).certain
    assert not AgentClock(World(boot_id="boot-0"), file).certain
