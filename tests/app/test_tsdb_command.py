"""`meterhall tsdb inspect` and `verify` on a real directory."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from meterhall.app.tsdb_command import tsdb
from meterhall.model.labels import make_labels
from meterhall.model.samples import Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

NOW = 1_800_000_000_000


class StandingClock:
    def now_ms(self):
        return NOW

    def monotonic(self):
        return 0.0


@pytest.fixture
def directory(tmp_path):
    store = EmbeddedStore(tmp_path, StoreSettings(maintain_interval_s=3600), StandingClock())
    writer = store.writer(Tenant("kr", "p1"))
    labels = [
        make_labels({"__name__": f"m{place % 2}", "i": str(place), "job": f"w{place // 4}"})
        for place in range(6)
    ]
    for step in range(10):
        row = Row(NOW + step, writer.intern("c", labels), np.arange(6.0) + step)
        writer.append([row]).durable.result(10)
        if step in (3, 7):
            store.flush(NOW + 7_200_000)
    store.close()
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(tsdb, [str(each) for each in arguments])
    return result.exit_code, result.output


def test_inspect(directory):
    code, output = run("inspect", directory, "--json")
    contents = json.loads(output)
    (tenant,) = contents["tenants"]
    assert code == 0
    assert contents["blocks"] == 2
    assert (tenant["region"], tenant["project"]) == ("kr", "p1")
    use = tenant["use"]
    assert use["log_samples"] == 12
    assert {
        (job, name): (each["series"], each["samples"])
        for job, workspace in use["workspaces"].items()
        for name, each in workspace["metrics"].items()
    } == {("w0", "m0"): (2, 16), ("w0", "m1"): (2, 16), ("w1", "m0"): (1, 8), ("w1", "m1"): (1, 8)}
    assert [
        (job, each["total"]["series"], each["total"]["samples"])
        for job, each in use["workspaces"].items()
    ] == [("w0", 4, 32), ("w1", 2, 16)]
    assert 0 < use["total"]["block_bytes"] < contents["blockBytes"]
    code, output = run("inspect", directory)
    assert code == 0
    assert "kr/p1: 6 series, 48 samples, " in output
    assert "\n  w1: 2 series, 16 samples, " in output
    assert "\n    m0: 2 series, 16 samples, " in output


def test_verify(directory):
    assert run("verify", directory)[0] == 0
    block, _ = sorted((directory / "blocks").iterdir())
    data = bytearray(block.read_bytes())
    data[60] ^= 1
    block.write_bytes(data)
    code, output = run("verify", directory)
    assert code == 1
    assert f"{block.name} at 8: page of 6 series of kr/p1: checksum is wrong" in output
    code, output = run("verify", directory, "--json")
    assert (code, len(json.loads(output)["faults"])) == (1, 1)


def test_the_directory_of_the_whole_service_may_be_given(directory, tmp_path_factory):
    """`--data DIR` is what an operator knows; zero files in it would read as all being well."""
    data = tmp_path_factory.mktemp("data")
    directory.rename(data / "tsdb")
    for command in ("inspect", "verify"):
        whole, store = (
            CliRunner().invoke(tsdb, [command, str(path), "--json"])
            for path in (data, data / "tsdb")
        )
        assert whole.stdout == store.stdout
    assert json.loads(whole.stdout)["files"] > 0


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["export", "--project", "p1"]])
def test_a_directory_without_a_store_is_an_error(tmp_path, command):
    code, output = run(*command, tmp_path)
    assert code == 1
    assert output == f"Error: {tmp_path} holds no store: it has no wal/ and blocks/\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "wal").mkdir()
    (tmp_path / "blocks").mkdir()
    assert run(*command, tmp_path)[0] == 0
