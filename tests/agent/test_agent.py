"""The whole agent against a thin real service and scripted exporters."""

import asyncio

from tests.agent.fake_service import target
from tests.agent.rig import agent_and_service
from tests.collect.exporters import until
from tests.collect.servers import raw, response, serving

PAGE = b"# TYPE a counter\na 1\n"
EXPORTER = raw(response(PAGE), keep_open=True)


def test_it_enrols_follows_collects_and_sends(tmp_path):
    async def scenario():
        async with (
            serving(EXPORTER) as port,
            agent_and_service(tmp_path, target(port=port)) as (service, _),
        ):
            await until(lambda: len(service.pages("t-1")) >= 4)
            assert all(page == PAGE for _, page in service.pages("t-1"))
            assert [len(sent) for sent in service.stored.values()] == [1] * len(service.stored)
            enrolment = service.enrolments[0]
            assert (enrolment.hostname, enrolment.address) == ("web-1", "10.0.0.1")
            assert len(service.connections) == 1

    asyncio.run(scenario())
