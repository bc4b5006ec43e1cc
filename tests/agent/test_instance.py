"""The cloud's metadata service: asked briefly, believed little."""

import asyncio
import contextlib
import time

import pytest
from aiohttp import web
from tests.collect.exporters import free_port
from tests.collect.servers import serving

from meterhall.agent.instance import instance_id


@contextlib.asynccontextmanager
async def metadata(answers):
    """A service with these answers, {(method, path): (status, body, needed token)}."""

    async def handle(request):
        status, body, token = answers.get((request.method, request.path), (404, "", None))
        if token is not None and request.headers.get("X-aws-ec2-metadata-token") != token:
            status, body = 401, ""
        headers = {"Location": body} if status == 302 else None
        return web.Response(status=status, text=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


OPENSTACK = ("GET", "/openstack/latest/meta_data.json")
EC2 = ("GET", "/latest/meta-data/instance-id")
TOKEN = ("PUT", "/latest/api/token")
UUID = "83679162-1378-4288-a2d4-70e13ec132aa"

FOUND = {
    "OpenStack": ({OPENSTACK: (200, f'{{"uuid": "{UUID}", "name": "x"}}', None)}, UUID),
    "EC2": ({EC2: (200, "i-0abc", None)}, "i-0abc"),
    "EC2 with a token": (
        {TOKEN: (200, "tok", None), EC2: (200, "i-0abc\n", "tok")},
        "i-0abc",
    ),
    "both": ({OPENSTACK: (200, f'{{"uuid": "{UUID}"}}', None), EC2: (200, "i-0", None)}, UUID),
    "OpenStack's rubbish": ({OPENSTACK: (200, "<html>", None), EC2: (200, "i-0", None)}, "i-0"),
    "nothing": ({}, None),
    "a page of its own": ({EC2: (200, "<html>\n<body>", None)}, None),
    "an endless id": ({EC2: (200, "i" * 300, None)}, None),
    "an empty id": ({EC2: (200, " ", None)}, None),
    "a redirect": ({EC2: (302, "http://192.0.2.1/", None)}, None),
    "a token that it does not want": ({TOKEN: (403, "", None), EC2: (200, "i-1", None)}, "i-1"),
}


@pytest.mark.parametrize(("answers", "expected"), FOUND.values(), ids=FOUND.keys())
def test_what_is_found(answers, expected):
    async def scenario():
        async with metadata(answers) as url:
            return await instance_id(url)

    assert asyncio.run(scenario()) == expected


def test_nobody_there():
    assert asyncio.run(instance_id(f"http://127.0.0.1:{free_port()}")) is None


def test_silence_is_not_waited_for():
    async def scenario():
        async def silent(reader, _writer):
            await reader.read()

        async with serving(silent) as port:
            began = time.monotonic()
            assert await instance_id(f"http://127.0.0.1:{port}") is None
            return time.monotonic() - began

    assert asyncio.run(scenario()) < 20
