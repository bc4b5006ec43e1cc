"""The line to the service: what each answer means, and whom the agent will talk to at all."""

import asyncio
import contextlib
import ssl
import subprocess

import pytest
from tests.agent.fake_service import FakeService
from tests.agent.rig import Machine
from tests.collect.exporters import free_port
from tests.collect.servers import endless, raw, response, serving

from meterhall.agent import channel as channel_module
from meterhall.agent.channel import (
    Busy,
    Channel,
    Denied,
    Misdirected,
    Patience,
    ServerSettings,
    Unacceptable,
    Unreachable,
)
from meterhall.agent.timekeeping import AgentClock
from meterhall.model.errors import ConfigError
from meterhall.wire.agent_calls import Enrolment
from meterhall.wire.agent_report import encode_batch

ENROLMENT = Enrolment("0" * 36, "web-1", "10.0.0.1", "linux", "1")
CLOCK = "X-Meterhall-Time-Ms: 1700000000000"
EMPTY = encode_batch([])


@contextlib.asynccontextmanager
async def channel_to(directory, url, **settings):
    channel = Channel(
        ServerSettings(url, **settings), AgentClock(Machine(), directory / "clock.json")
    )
    channel.key = "agent-key"
    try:
        yield channel
    finally:
        await channel.close()


def call(tmp_path, url, action=lambda channel: channel.report(EMPTY, backfill=False), **settings):
    """What one call brings, or the error that it raises."""

    async def scenario():
        async with channel_to(tmp_path, url, **settings) as channel:
            try:
                return await action(channel)
            except channel_module.ChannelError as error:
                return error

    return asyncio.run(scenario())


def call_script(tmp_path, script, **settings):
    async def scenario():
        async with (
            serving(script) as port,
            channel_to(tmp_path, f"http://127.0.0.1:{port}", **settings) as channel,
        ):
            with pytest.raises(channel_module.ChannelError) as caught:
                await channel.report(EMPTY, backfill=False)
            return caught.value

    return asyncio.run(scenario())


def refusal(status, *headers, body=b'{"error": "a sentence"}'):
    return raw(response(body, CLOCK, *headers, status=status))


MEANINGS = [
    (refusal("429 Too Many Requests", "Retry-After: 7"), Busy, "429: a sentence"),
    (refusal("503 Service Unavailable", "Retry-After: 7"), Busy, "503: a sentence"),
    (refusal("503 Service Unavailable"), Unreachable, "503: a sentence"),
    (refusal("429 Too Many Requests", "Retry-After: soon"), Unreachable, "429: a sentence"),
    (refusal("500 Internal Server Error"), Unreachable, "500: a sentence"),
    (refusal("502 Bad Gateway", body=b"<html>"), Unreachable, "502"),
    (refusal("408 Request Timeout", body=b""), Unreachable, "408"),
    (refusal("401 Unauthorized"), Denied, "401: a sentence"),
    (refusal("403 Forbidden"), Denied, "403: a sentence"),
    (refusal("404 Not Found"), Misdirected, "as a Meterhall service does (404: a sentence)"),
    (refusal("405 Method Not Allowed"), Misdirected, "405"),
    (refusal("302 Found", "Location: http://127.0.0.1:1/"), Misdirected, "302"),
    (refusal("307 Temporary Redirect", "Location: /elsewhere"), Misdirected, "307"),
    (refusal("400 Bad Request"), Unacceptable, "400: a sentence"),
    (refusal("413 Content Too Large"), Unacceptable, "413"),
    (refusal("200 OK", body=b"{}"), Misdirected, "no ReportAnswer"),
    (
        raw(response(b'{"stored":0,"unknownShapes":[],"refused":[]}')),
        Misdirected,
        "does not answer",
    ),
    (raw(response(b"{}", "X-Meterhall-Time-Ms: -5")), Misdirected, "does not answer"),
    (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"), Unreachable, ""),
    (raw(b"rubbish\r\n\r\n"), Unreachable, ""),
    (raw(b""), Unreachable, ""),
]


@pytest.mark.parametrize(("script", "kind", "text"), MEANINGS)
def test_what_an_answer_means(tmp_path, script, kind, text):
    error = call_script(tmp_path, script)
    assert (type(error), text in str(error)) == (kind, True), error
    assert str(error).isprintable()


def test_retry_after_is_bounded(tmp_path):
    error = call_script(tmp_path, refusal("429 Too Many Requests", "Retry-After: 999999999999"))
    assert error.retry_after_s == 3600


def test_an_endless_answer_is_cut_off(tmp_path):
    head = f"HTTP/1.1 200 OK\r\n{CLOCK}\r\n\r\n".encode()
    error = call_script(tmp_path, endless(head, b"x" * 65536))
    assert type(error) is Misdirected


def test_silence_ends_with_the_call(tmp_path, monkeypatch):
    monkeypatch.setattr(channel_module, "_CALL_S", 0.2)

    async def silent(reader, _writer):
        await reader.read()

    assert str(call_script(tmp_path, silent)) == "no answer in time"


def test_nobody_there(tmp_path):
    error = call(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert type(error) is Unreachable


def test_all_calls_share_one_connection_and_carry_the_key_in_its_header(tmp_path):
    async def scenario():
        service = FakeService()
        async with service.running(), channel_to(tmp_path, service.url) as channel:
            enrolled = await channel.enrol(ENROLMENT, "write-key")
            targets = await channel.targets(None)
            assert await channel.targets(targets.revision) is None
            answers = await asyncio.gather(
                *(channel.report(EMPTY, backfill=bool(number)) for number in range(3))
            )
            assert {each.stored for each in answers} == {0}
            assert enrolled.host_id == targets.host_id == "h-1"
            keys = [headers["X-TC-APP-KEY"] for _, headers in service.requests]
            assert keys == ["write-key"] + ["agent-key"] * 5
            backfill = [headers.get("X-Meterhall-Backfill") for _, headers in service.requests]
            assert backfill == [None] * 4 + ["1", "1"]
            assert (len(service.connections), service.peak_in_hand) == (1, 1)

    asyncio.run(scenario())


URLS = [
    ("http://service.example:9480", {}, "unencrypted"),
    ("http://10.0.0.1", {}, "unencrypted"),
    ("ftp://127.0.0.1", {}, "not http"),
    ("127.0.0.1:9480", {}, "not http"),
    ("", {}, "not http"),
    ("https://user:secret@service.example", {}, "no user"),
    ("https://service.example/?key=secret", {}, "no user"),
]


@pytest.mark.parametrize(("url", "settings", "text"), URLS)
def test_urls_that_are_refused(url, settings, text):
    with pytest.raises(ConfigError, match=text) as caught:
        ServerSettings(url, **settings).base()
    if "@" in url or "?" in url:
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://127.0.0.1:9480", {}),
        ("http://[::1]:9480", {}),
        ("http://localhost", {}),
        ("https://service.example", {}),
        ("https://service.example/below/a/path", {}),
        ("http://10.0.0.1", {"allow_plain_http": True}),
    ],
)
def test_urls_that_are_taken(url, settings):
    assert str(ServerSettings(url, **settings).base()).rstrip("/") == url


# TLS, with certificates made here.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with ca.pem, and a certificate for localhost that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for arguments in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=localhost", "-keyout", "own.key", "-out", "own.csr"],
        [
            *("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
            *("-extfile", "names", "-out", "own.pem"),
        ],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def over_tls(tmp_path, certificates, host="localhost", **settings):
    """What a call to a service with that certificate brings, or its error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "own.pem", certificates / "own.key")

    async def scenario():
        service = FakeService()
        async with service.running(tls=context):
            url = f"https://{host}:{service.port}"
            async with channel_to(tmp_path, url, **settings) as channel:
                try:
                    return await channel.targets(None), service
                except channel_module.ChannelError as error:
                    return error, service

    return asyncio.run(scenario())


def test_a_certificate_of_the_given_authority_is_taken(tmp_path, certificates):
    targets, _ = over_tls(tmp_path, certificates, ca_file=certificates / "ca.pem")
    assert targets.host_id == "h-1"


def test_a_certificate_of_nobody_we_know_is_refused_and_nothing_is_sent(tmp_path, certificates):
    """Not even on loopback, and there is no falling back to plain http."""
    error, service = over_tls(tmp_path, certificates)
    assert (type(error), service.requests) == (Misdirected, [])
    assert "certificate" in str(error)


def test_a_certificate_for_another_name_is_refused(tmp_path, certificates):
    error, service = over_tls(
        tmp_path, certificates, host="127.0.0.1", ca_file=certificates / "ca.pem"
    )
    assert (type(error), service.requests) == (Misdirected, [])


def test_a_ca_file_that_is_none(tmp_path):
    (tmp_path / "ca.pem").write_text("rubbish")
    with pytest.raises(ConfigError, match="CA file"):
        ServerSettings("https://localhost", tmp_path / "ca.pem").tls()


# Patience.


def test_patience_doubles_and_starts_again():
    patience = Patience(lambda: 1.0)
    waits = [patience.after(Unreachable("away")) for _ in range(8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    patience.succeeded()
    assert patience.after(Unreachable("away")) == 1.0


@pytest.mark.parametrize("jitter", [0.0, 0.99])
def test_patience_obeys_the_service_and_waits_long_where_only_people_can_help(jitter):
    patience = Patience(lambda: jitter)
    assert 10 <= patience.after(Busy("full", 10)) <= 12.5
    assert patience.after(Busy("full", 0)) >= 0.5
    for error in (Denied("no"), Misdirected("no")):
        assert 120 <= patience.after(error) <= 150
