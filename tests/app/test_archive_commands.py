"""Out and in again: nobody is locked in. Snapshots of a running server, and promtool as another system."""

import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from tests.tsdb.stores import NAME, dump, series

from meterhall.app.cli import main
from meterhall.app.clock import SystemClock
from meterhall.model.samples import NAN, STALE, Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

OURS, OTHER = Tenant("kr", "aOpreudC"), Tenant("kr", "bOpreudC")
MINUTE = 60_000


def opened(directory):
    return EmbeddedStore(directory, StoreSettings(retention_ms=10**13), SystemClock())


def run(*words, **options):
    return CliRunner().invoke(main, ["tsdb", *map(str, words)], catch_exceptions=False, **options)


@pytest.fixture
def filled(tmp_path):
    """Two projects over a day and in part in blocks: counters, gaps, markers, NaN, Inf, and odd names."""
    store = opened(tmp_path / "store")
    now = SystemClock().now_ms() // MINUTE * MINUTE
    random = np.random.default_rng(5)
    for tenant in (OURS, OTHER):
        writer = store.writer(tenant)
        labels = [series("m_total", job="web", i=str(i)) for i in range(20)]
        labels += [series("odd.name", **{"label ä": 'x"\\\n'}), series("special")]
        refs = writer.intern("c", labels)
        for step in range(1440, 0, -1):
            values = np.round(random.random(len(refs)) * 1000, int(random.integers(0, 17)))
            values[-1] = [1.5, NAN, STALE, np.inf, -np.inf, -0.0][step % 6]
            some = random.random(len(refs)) < 0.9
            said = writer.append([Row(now - step * MINUTE + step % 997, refs[some], values[some])])
            assert not said.rejections
    said.durable.result(10)
    store.flush(now - 600 * MINUTE)
    store.close()
    return tmp_path / "store"


def contents(directory, tenant=OURS):
    store = opened(directory)
    found = dump(store, tenant, (NAME,))
    store.close()
    return found


def test_what_is_exported_and_imported_again_is_the_same_bit_by_bit(filled, tmp_path):
    text = tmp_path / "out.om"
    words = ("export", filled, "--project", OURS.project)
    assert run(*words, "--stale-markers", "--output", text).exit_code == 0
    (tmp_path / "new").mkdir()
    for _ in range(2):
        # The second time nothing is new, and nothing is refused.
        done = run("import", tmp_path / "new", text, "--project", OURS.project)
        assert done.exit_code == 0, done.output
    expected = contents(filled)
    assert contents(tmp_path / "new") == expected
    assert contents(tmp_path / "new", OTHER) == {}
    again = run("export", tmp_path / "new", "--project", OURS.project, "--stale-markers")
    assert again.stdout_bytes == text.read_bytes()
    plain = run(*words).stdout_bytes
    assert plain.count(b"\n") == text.read_bytes().count(b"\n") - text.read_bytes().count(b" nan ")


def test_a_part_is_exported(filled):
    words = ("export", filled, "--project", OURS.project)
    chosen = ('m_total{i="3"}', 'm_total{i=~"3|4"}')
    text = run(*words, *(word for each in chosen for word in ("--match", each))).stdout
    assert {line.split(" ")[0] for line in text.splitlines()[:-1]} == {
        'm_total{i="3",job="web"}',
        'm_total{i="4",job="web"}',
    }
    lines = text.splitlines()
    assert len(lines) == len(set(lines))
    assert lines[-1] == "# EOF"
    end = float(lines[0].split(" ")[-1])
    assert len(run(*words, "--match", chosen[0], "--end", end).stdout.splitlines()) == 2
    assert run("export", filled, "--project", "nobody").stdout == "# EOF\n"


def test_prometheus_reads_what_we_export(filled, tmp_path, peers):
    """`promtool tsdb create-blocks-from openmetrics`, and its own dump of the blocks that it made."""
    text = tmp_path / "out.om"
    # Not the odd name: promtool's dump does not escape a newline.
    chosen = ("--match", "m_total", "--match", "special")
    run("export", filled, "--project", OURS.project, "--output", text, *chosen)
    promtool = str(peers / "promtool")
    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(tmp_path / "prom")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    # It makes blocks alone, and asks for a log when it reads them.
    (tmp_path / "prom" / "wal").mkdir()
    back = subprocess.run(
        [promtool, "tsdb", "dump-openmetrics", str(tmp_path / "prom")],
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    (tmp_path / "again.om").write_bytes(back)
    (tmp_path / "new").mkdir()
    done = run("import", tmp_path / "new", tmp_path / "again.om", "--project", OURS.project)
    assert done.exit_code == 0, done.output
    stale = int(np.float64(STALE).view(np.uint64))
    expected = {
        labels: {time: bits for time, bits in samples.items() if bits != stale}
        for labels, samples in contents(filled).items()
        if dict(labels)["__name__"] != "odd.name"
    }
    assert contents(tmp_path / "new") == expected


def test_refusals_and_wrong_files_are_told(filled, tmp_path):
    text = tmp_path / "in.om"
    text.write_bytes(b"special 77 1\nspecial 78 1\n# EOF\n")
    done = run("import", filled, text, "--project", OURS.project)
    assert done.exit_code == 0
    text.write_bytes(b"special 79 1\n# EOF\n")
    done = run("import", filled, text, "--project", OURS.project)
    assert done.exit_code == 1
    assert "1 refused: duplicate sample" in done.output
    text.write_bytes(b"special 79 1\nwrong\n# EOF\n")
    done = run("import", filled, text, "--project", OURS.project)
    assert done.exit_code == 1
    assert "line 2" in done.output
    store = opened(filled)
    for words in (("export", filled), ("import", filled, text)):
        done = run(*words, "--project", OURS.project)
        assert done.exit_code == 1
        assert "Traceback" not in done.output
    store.close()


def test_a_snapshot_needs_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("METERHALL_ADMIN_LISTEN", "127.0.0.1:1")
    done = run("snapshot", "--data", tmp_path)
    assert done.exit_code == 1
    assert "no server answers at 127.0.0.1:1" in done.output
