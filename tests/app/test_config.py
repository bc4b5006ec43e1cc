"""Settings: defaults, file, environment, and errors that name the culprit."""

import tomllib
from pathlib import Path

import pytest

from meterhall.app import config
from meterhall.app.config import Settings
from meterhall.app.serve_command import quickstart_settings
from meterhall.app.setting_types import ListenAddress
from meterhall.model.errors import ConfigError
from meterhall.wire.agent_calls import (
    AgentTarget,
    AgentTargets,
    ReportLimits,
    decode_message,
    encode_message,
)


def load(tmp_path: Path, toml: str = "", **environment: str):
    file = tmp_path / "meterhall.toml"
    file.write_text(toml)
    return config.load(file, environment)


def test_defaults_are_the_contracts():
    settings = config.load(None, {})
    assert settings.server.listen == ListenAddress("127.0.0.1", 9480)
    assert settings.admin.listen == ListenAddress("127.0.0.1", 9481)
    assert settings.server.regions == ("kr",)
    assert settings.storage.retention == 365 * 86_400_000
    assert settings.collect.interval == 60_000
    assert settings.collect.timeout == 10_000
    assert not settings.collect.allow_loopback
    assert settings.limits.targets_per_host == 5


def test_the_environment_wins_over_the_file(tmp_path):
    settings = load(
        tmp_path,
        '[collect]\ninterval = "30s"\ntimeout = "5s"\n',
        METERHALL_COLLECT_INTERVAL="1m30s",
        METERHALL_SERVER_REGIONS="kr,jp",
        METERHALL_SERVER_REGION_HOSTS="jp.example=jp",
        METERHALL_COLLECT_ALLOW_LOOPBACK="true",
        METERHALL_APPKEY="belongs to the query command",
    )
    assert settings.collect.interval == 90_000
    assert settings.collect.timeout == 5_000
    assert settings.server.regions == ("kr", "jp")
    assert settings.server.region_hosts == {"jp.example": "jp"}
    assert settings.collect.allow_loopback


BAD = [
    ("[colect]\n", "unknown section [colect]; allowed: admin,"),
    ("[collect]\nintervall = 1\n", "unknown key collect.intervall; allowed: allow_loopback,"),
    ('[collect]\ninterval = "soon"\n', "collect.interval = 'soon': allowed: a duration"),
    ('[collect]\ninterval = "1s1m"\n', "collect.interval = '1s1m': allowed: a duration"),
    ('[collect]\ninterval = "500ms"\n', "collect.interval = 500ms: allowed: 1s to 1d"),
    ('[collect]\ninterval = "1d1ms"\n', "collect.interval = 1d1ms: allowed: 1s to 1d"),
    ('[agents]\npoll = "1d"\n', "agents.poll = 1d: allowed: 100ms to 1h"),
    ("[collect]\nallow_loopback = 1\n", "collect.allow_loopback = 1: allowed: true, false"),
    ('[collect]\nrefuse_networks = ["10.0.0.0/99"]\n', "allowed: a list of networks"),
    ('[server]\nlisten = "9480"\n', "server.listen = '9480': allowed: HOST:PORT"),
    ("[server]\nregions = []\n", "server.regions = []: allowed: a list of region codes"),
    ('[server]\nregions = ["kr", "kr"]\n', "allowed: a list of region codes"),
    ('[server]\nregion_hosts = { "a.example" = "mars" }\n', "a.example = 'mars'; allowed: kr"),
    ("[query]\nsamples_max = -1\n", "query.samples_max = -1: allowed: a whole number from 1"),
    ("[query]\nsamples_max = true\n", "allowed: a whole number from 1"),
    ('[query]\ncache = "maybe"\n', "query.cache = 'maybe': allowed: on, off"),
    ('[admin]\nlisten = "0.0.0.0:9481"\n', "admin.listen: must be a loopback address"),
    ('[admin]\nlisten = "127.0.0.1:9480"\n', "admin.listen: must differ from server.listen"),
    ("collect = 3\n", "collect must be a section"),
    ("[collect\n", "not a TOML file"),
    ('[database]\nurl_file = "/nowhere/at/all"\n', "database.url_file: cannot be read"),
    ('[storage]\nretention_file = "x"\n', "unknown key storage.retention_file"),
]


@pytest.mark.parametrize(("toml", "expected"), BAD, ids=[expected for _, expected in BAD])
def test_an_error_names_file_key_and_what_is_allowed(tmp_path, toml, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml)
    assert expected in str(caught.value)
    assert "meterhall.toml" in str(caught.value)


def test_an_error_of_the_environment_names_the_variable(tmp_path):
    with pytest.raises(ConfigError, match="environment variable METERHALL_QUERY_TIMEOUT"):
        load(tmp_path, METERHALL_QUERY_TIMEOUT="x")


def test_printed_settings_are_a_file_that_loads_to_the_same(tmp_path):
    settings = load(
        tmp_path,
        '[server]\nregions = ["kr", "jp"]\nregion_hosts = { "jp.example" = "jp" }\n'
        '[collect]\ninterval = "1h30m5s"\nrefuse_networks = ["10.0.0.0/8"]\n',
    )
    assert load(tmp_path, config.printable(settings)) == settings


def test_secrets_come_from_files_and_are_masked(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://u:hunter2@db/meterhall\n")
    settings = load(tmp_path, f'[database]\nurl_file = "{secret}"\n')
    assert settings.database.url == "postgresql+psycopg://u:hunter2@db/meterhall"
    printed = config.printable(settings)
    assert "hunter2" not in printed
    assert tomllib.loads(printed)["database"]["url"] == "********"


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ((None, None, "10ms"), "collect.interval = 10ms: allowed: 1s to 1d"),
        ((None, "127.0.0.1:9481", None), "admin.listen: must differ from server.listen"),
    ],
)
def test_options_of_quickstart_are_checked_as_a_file_is(options, culprit, monkeypatch):
    monkeypatch.delenv("METERHALL_ADMIN_LISTEN", raising=False)
    with pytest.raises(ConfigError, match=culprit):
        quickstart_settings(*options)


@pytest.mark.parametrize(("section", "key", "least", "most"), config.RANGES)
def test_an_agent_takes_what_the_settings_may_say_and_no_more(section, key, least, most):
    for value in (least, most):
        settings = config.checked(Settings().with_values(section, **{key: value}), "here")
        told = targets_of(settings)
        assert decode_message(encode_message(told), AgentTargets) == told
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=rf"here: {section}\.{key} = .*: allowed: {least} to"):
            config.checked(Settings().with_values(section, **{key: value}), "here")


def targets_of(settings):
    """What a service of these settings tells an agent of a host with as many targets as it may have."""
    collect, agents = settings.collect, settings.agents
    target = AgentTarget(
        *("t", "node", 9100, "/metrics"), int(collect.interval), int(collect.timeout)
    )
    return AgentTargets(
        *("revision", "host", agents.poll / 1000),
        [target] * (settings.limits.targets_per_host + 1),
        ReportLimits(
            *(collect.page_bytes_max, collect.samples_max),
            *(agents.batch_bytes_max, agents.batch_decoded_bytes_max),
        ),
    )
