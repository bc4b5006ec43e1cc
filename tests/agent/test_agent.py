"""The whole agent against a thin real service and scripted exporters."""

import asyncio
import contextlib
import itertools
import time

import pytest
from tests.agent.disks import FullDisk
from tests.agent.fake_service import FakeService, target
from tests.agent.rig import Machine, agent_and_service, agent_on
from tests.collect.exporters import free_port, until
from tests.collect.servers import raw, response, serving

from meterhall.model.errors import ConfigError
from meterhall.wire.agent_report import FailedScrape, SplitPage

PAGE = b"# TYPE a counter\na 1\n"
EXPORTER = raw(response(PAGE), keep_open=True)
HOUR = 3_600_000


def counting_exporter():
    """Each page counts on, so that every scrape can be told from every other."""
    served = []

    async def script(reader, writer):
        while not reader.at_eof():
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
            if reader.at_eof():
                return
            served.append(len(served))
            writer.write(response(b"served %d\n" % served[-1]))
            await writer.drain()

    return script, served


def each_once(service):
    return [len(sent) for sent in service.stored.values()] == [1] * len(service.stored)


def numbers(service, target_id="t-1"):
    """The pages' numbers in order of time; failures are left out."""
    return [
        int(page.split()[1])
        for _, page in service.pages(target_id)
        if not isinstance(page, FailedScrape)
    ]


def missing(service, count):
    """Of so many pages that were served, those that are neither stored nor reported as failed."""
    failed = sum(isinstance(page, FailedScrape) for _, page in service.pages("t-1"))
    return len(set(range(count)) - set(numbers(service))) - failed


def test_it_enrols_follows_collects_and_sends(tmp_path):
    async def scenario():
        async with (
            serving(EXPORTER) as port,
            agent_and_service(tmp_path, target(port=port)) as (service, _),
        ):
            await until(lambda: len(service.pages("t-1")) >= 4)
            assert all(page == PAGE for _, page in service.pages("t-1"))
            assert each_once(service)
            enrolment = service.enrolments[0]
            assert (enrolment.hostname, enrolment.address) == ("web-1", "10.0.0.1")
            assert len(service.connections) == 1

    asyncio.run(scenario())


def test_a_repeated_page_travels_as_its_words(tmp_path):
    page = b"".join(b'a_metric_with_a_name{label="%d"} 1.5\n' % n for n in range(300))

    async def scenario():
        async with (
            serving(raw(response(page), keep_open=True)) as port,
            agent_and_service(tmp_path, target(port=port)) as (service, _),
        ):
            await until(lambda: len(service.pages("t-1")) >= 4)
            outcomes = [scrape.outcome for batch in service.batches for scrape in batch.scrapes]
            assert isinstance(outcomes[3], SplitPage)
            assert outcomes[3].shape is None
            assert {body for _, body in service.pages("t-1")} == {page}

    asyncio.run(scenario())


def test_what_a_bad_exporter_shows_reaches_the_service(tmp_path):
    missing = raw(response(b"secret", status="404 Not Found"), keep_open=True)
    moved = raw(response(b"", "Location: http://192.0.2.1/", status="302 Found"), keep_open=True)

    async def hanging(reader, _writer):
        await reader.read()

    async def scenario():
        async with serving(missing) as one, serving(moved) as two, serving(hanging) as three:
            targets = [
                target("404", one),
                target("302", two),
                target("slow", three, timeoutMs=200),
                target("closed", free_port()),
                target("path", one, metricsPath="//192.0.2.1/"),
            ]
            async with agent_and_service(tmp_path, *targets) as (service, _):
                names = [each["targetId"] for each in targets]
                await until(lambda: all(service.pages(name) for name in names))
                return {name: service.pages(name)[0][1] for name in names}

    shown = asyncio.run(scenario())
    assert shown == {
        "404": FailedScrape("http_error", "404 Not Found", 404),
        "302": FailedScrape("http_error", "302 Found", 302),
        "slow": FailedScrape("timeout", "timed out after 0.2 s", 0),
        "closed": FailedScrape("connect_error", "connection refused", 0),
        "path": FailedScrape(
            "address_refused", "the path begins with two slashes, which could name another host", 0
        ),
    }


def test_builtin_host_metrics(tmp_path):
    async def scenario():
        async with agent_and_service(tmp_path, target(builtin=True)) as (service, _):
            await until(lambda: service.pages("t-1"))
            assert b"node_cpu_seconds_total" in service.pages("t-1")[0][1]

    asyncio.run(scenario())


def test_targets_come_and_go_without_touching_the_others(tmp_path):
    script, _ = counting_exporter()

    async def scenario():
        async with serving(script) as steady, serving(EXPORTER) as other:
            kept = target("t-1", steady)
            async with agent_and_service(tmp_path, kept) as (service, _):
                await until(lambda: service.pages("t-1"))
                service.set_targets(kept, target("t-2", other))
                await until(lambda: service.pages("t-2"))
                service.set_targets(kept, target("t-2", other, metricsPath="/new"))
                await until(lambda: len(service.pages("t-1")) >= 4)
                service.set_targets(kept)
                await until(lambda: len(service.pages("t-1")) >= 6)
                # Within a poll and a look at the inventory it is gone for good.
                gone = service.pages("t-2")[-1][0]
                await until(lambda: service.pages("t-1")[-1][0] > gone + 3000)
                assert service.pages("t-2")[-1][0] < gone + 3000
                times = [at for at, _ in service.pages("t-1")]
                # The first is at once. A tick that a busy machine misses is skipped; none is doubled.
                steps = [b - a for a, b in itertools.pairwise(times)]
                assert min(steps[1:]) > 400
                assert numbers(service) == list(range(len(times)))

    asyncio.run(scenario())


def test_the_services_cap_holds_and_can_change(tmp_path):
    body = b"a 1\n" * 1000

    async def scenario():
        async with (
            serving(raw(response(body), keep_open=True)) as port,
            agent_and_service(tmp_path, target(port=port)) as (service, _),
        ):
            await until(lambda: service.pages("t-1"))
            assert service.pages("t-1")[0][1] == body
            service.limits["pageBytesMax"] = 100
            service.revision += 1
            too_large = FailedScrape("limit", "the page is larger than 100 bytes", 0)
            await until(lambda: service.pages("t-1")[-1][1] == too_large)

    asyncio.run(scenario())


def test_an_outage_leaves_no_gap_over_a_restart_in_it(tmp_path):
    """The service goes away, the agent is stopped and started anew without it, the service comes back."""
    script, served = counting_exporter()

    async def scenario():
        async with serving(script) as port:
            service = FakeService(target(port=port))
            machine = Machine()
            async with service.running(), agent_on(tmp_path, service.url, machine):
                public = service.port
                await until(lambda: len(numbers(service)) >= 2)
            url = f"http://127.0.0.1:{public}"
            async with agent_on(tmp_path, url, machine, key=None):
                before = len(served)
                await until(lambda: len(served) >= before + 3)
            async with agent_on(tmp_path, url, machine, key=None):
                await until(lambda: len(served) >= before + 5)
                async with service.running(public):
                    back = len(served)
                    await until(lambda: numbers(service)[-1] >= back + 1)
                    # A page that is in hand at a stop may be given up; nothing else is missing.
                    await until(lambda: missing(service, back) <= 2)
                    assert numbers(service) == sorted(numbers(service))
                    assert each_once(service)

    asyncio.run(scenario())


@pytest.mark.parametrize("off_by_ms", [HOUR, -HOUR])
def test_a_wrong_clock_is_corrected_once_for_scrapes_before_and_after_contact(tmp_path, off_by_ms):
    script, served = counting_exporter()

    async def scenario():
        async with serving(script) as port:
            service = FakeService(target(port=port))
            machine = Machine(off_by_ms)
            public = free_port()
            url = f"http://127.0.0.1:{public}"
            async with service.running(public), agent_on(tmp_path, url, machine):
                await until(lambda: service.stored)
            # A new start of the machine, and no contact at first: nothing is certain.
            machine = Machine(off_by_ms, "boot-2")
            async with agent_on(tmp_path, url, machine):
                before = len(served)
                await until(lambda: len(served) >= before + 2)
                machine.off_by_ms -= 2 * off_by_ms
                await until(lambda: len(served) >= before + 4)
                async with service.running(public):
                    machine.off_by_ms = 0
                    await until(lambda: len(numbers(service)) >= before + 5)
                    machine.off_by_ms = off_by_ms
                    await until(lambda: len(numbers(service)) >= before + 8)
            return service

    began_ms = time.time() * 1000
    service = asyncio.run(scenario())
    ended_ms = time.time() * 1000
    times = [at for at, _ in service.pages("t-1")]
    assert all(began_ms - 1000 <= at <= ended_ms + 1000 for at in times), times
    assert numbers(service) == sorted(numbers(service))
    assert each_once(service)


def test_a_full_disk_costs_nothing_while_the_service_is_there(tmp_path, capsys):
    script, _ = counting_exporter()
    disk = FullDisk()

    async def scenario():
        async with (
            serving(script) as port,
            agent_and_service(tmp_path, target(port=port), disk=disk) as (service, _),
        ):
            await until(lambda: len(numbers(service)) >= 2)
            disk.refused = "write"
            await until(lambda: len(numbers(service)) >= 4)
            disk.refused = None
            await until(lambda: len(numbers(service)) >= 6)
            assert numbers(service) == list(range(len(numbers(service))))

    asyncio.run(scenario())
    assert "collections cannot be kept" in capsys.readouterr().out


# Enrolment.


def test_it_enrols_once(tmp_path):
    async def scenario():
        service = FakeService(target(builtin=True))
        async with service.running():
            for _ in range(2):
                count = len(service.stored)
                async with agent_on(tmp_path, service.url):
                    await until(lambda count=count: len(service.stored) > count)
        assert len(service.enrolments) == 1

    asyncio.run(scenario())


def test_the_key_is_kept_nowhere_and_the_credential_in_its_file_alone(tmp_path, capsys):
    async def scenario():
        async with agent_and_service(tmp_path, target(builtin=True)) as (service, _):
            service.key = "own-credential"
            await until(lambda: service.stored)

    asyncio.run(scenario())
    said = capsys.readouterr()
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert not [name for name, data in files.items() if b"write-key" in data]
    assert [name for name, data in files.items() if b"own-credential" in data] == [
        "credential.json"
    ]
    for secret in ("write-key", "own-credential"):
        assert secret not in said.out + said.err


def test_a_host_without_key_or_credential_is_told_what_to_do(tmp_path):
    async def scenario():
        async with agent_on(tmp_path, "http://127.0.0.1:1", key=None) as task:
            return await asyncio.gather(task, return_exceptions=True)

    (error,) = asyncio.run(scenario())
    assert isinstance(error, ConfigError)
    assert "--key" in str(error)


def test_enrolment_that_can_never_succeed_ends_the_agent(tmp_path):
    async def scenario():
        service = FakeService()
        service.enrol_answers = [(403, {"error": "the token was used"})]
        async with service.running(), agent_on(tmp_path, service.url) as task:
            return await asyncio.gather(task, return_exceptions=True)

    (error,) = asyncio.run(scenario())
    assert isinstance(error, ConfigError)
    assert str(error) == "this host cannot be enrolled: 403: the token was used"


def test_enrolment_waits_for_a_service_that_is_away_or_busy(tmp_path, capsys):
    async def scenario():
        service = FakeService(target(builtin=True))
        service.enrol_answers = [
            (429, {"error": "later"}, {"Retry-After": "0"}),
            (503, {"error": "starting"}, {"Retry-After": "0"}),
        ]
        async with service.running(), agent_on(tmp_path, service.url):
            await until(lambda: service.stored)

    asyncio.run(scenario())
    assert "cannot be asked to enrol" in capsys.readouterr().out


# The stop.


def test_a_stop_sends_what_is_there_and_waits_for_nobody(tmp_path):
    released = asyncio.Event()

    async def hanging(reader, _writer):
        await reader.readuntil(b"\r\n\r\n")
        released.set()
        await reader.read()

    async def scenario():
        async with (
            serving(hanging) as port,
            agent_and_service(tmp_path, target(port=port, intervalMs=60_000, timeoutMs=50_000)) as (
                service,
                _,
            ),
        ):
            service.set_targets(
                target("t-1", port, intervalMs=1000, timeoutMs=900),
                target("t-2", port, intervalMs=1000, timeoutMs=50_000),
            )
            await released.wait()
            # agent_on gives the stop ten seconds.

    asyncio.run(scenario())


def test_a_stop_during_enrolment(tmp_path):
    async def scenario():
        async with agent_on(tmp_path, f"http://127.0.0.1:{free_port()}"):
            await asyncio.sleep(0.1)

    asyncio.run(scenario())
