"""The script runner: what it reads, and that a wrong expectation never passes."""

import pytest
from click.testing import CliRunner

from meterhall.app.promqltest_command import promqltest
from meterhall.model.errors import BadInput
from meterhall.query.promqltest import run_script
from meterhall.query.promqltest_check import almost_equal
from meterhall.query.promqltest_script import Clear, Eval, Load, ScriptError, read_script
from meterhall.query.promqltest_values import Histogram, parse_series

LOAD = 'load 10s\n  m{a="1"} 1 2 3\n  m{a="2"} 5 _ stale\n\n'


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ('eval instant at 0 m\n m{a="1"} 1\n m{a="2"} 5\n', None),
        ('eval instant at 0 m\n m{a="1"} 1\n m{a="2"} 6\n', 'got m{a="2"} 5.0 want 6.0'),
        ('eval instant at 0 m\n m{a="1"} 1\n', 'got unexpected m{a="2"} 5.0'),
        ('eval instant at 20s m\n m{a="1"} 3\n m{a="2"} 5\n', 'got nothing want m{a="2"} 5.0'),
        ('eval instant at 20s m\n m{a="1"} 3\n', None),
        ("eval instant at 0 1 + 1\n 2\n", None),
        ("eval instant at 0 1 + 1\n 3\n", "got 2.0 want 3.0"),
        ("eval instant at 0 m\n 3\n", "got an instant vector of 2 series want 3.0"),
        ('eval instant at 0 "x"\n expect string "x"\n', None),
        ('eval instant at 0 "x"\n expect string `y`\n', "got 'x' want 'y'"),
        ("eval instant at 0 m +\n expect fail\n", None),
        ("eval instant at 0 m\n expect fail\n", "got an answer want failure"),
        ("eval_fail instant at 0 m\n", "got an answer want failure"),
        ("eval instant at 0 m{\n", "got error 1:3: parse error: unexpected end of input"),
        ("eval instant at 0 m{\n expect fail regex:inside br[a]ces$\n", None),
        (
            "eval instant at 0 m{\n expect fail msg:other\n",
            "got error 1:3: parse error: unexpected end of input inside braces want error other",
        ),
        (
            'eval instant at 0 sort(m)\n expect ordered\n m{a="2"} 5\n m{a="1"} 1\n',
            'got m{a="1"} at position 1 want m{a="2"}',
        ),
        ('eval range from 0 to 20s step 10s m{a="1"}\n m{a="1"} 1 2 3\n', None),
        ('eval range from 0 to 20s step 10s m{a="1"}\n m{a="1"} 1+1x2\n', None),
        (
            'eval range from 0 to 20s step 10s m{a="1"}\n m{a="1"} 1 2\n',
            'm{a="1"}: got 3.0 want None at 20000 ms',
        ),
        ('eval range from 0 to 20s step 10s m{a="2"}\n m{a="2"} 5 5\n', None),
        (
            'eval instant at 20s m{a="1"}[20s]\n expect range vector from 10s to 20s step 10s\n m{a="1"} 2 3\n',
            None,
        ),
        ("eval instant at 0 sum(rate(m[5m]))\n expect warn\n", "got warnings [] want 'one'"),
        (
            "eval instant at 0 quantile(2, m)\n expect no_warn\n {} Inf\n",
            "got warning 'PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)' want none",
        ),
        (
            "eval instant at 0 quantile(2, m)\n expect warn regex: got 2 \\(1:10\\)\n {} Inf\n",
            None,
        ),
    ],
)
def test_one_case(case, fault):
    report = run_script(LOAD + case, "s")
    if fault is None:
        assert (report.passed, report.failures) == (1, [])
    else:
        ((line, message),) = report.failures
        assert line == 5
        assert message.startswith(fault)


def test_unpinned_and_range_evaluation_are_checked_too():
    """`time()` is not pinned, and what differs only in the middle of a range is told."""
    report = run_script("load 1m\n m 1x10\n\neval instant at 5m time()\n 300\n", "s")
    assert report.failures == []


def test_commands_are_read():
    text = (
        "# head\nclear\nload_with_nhcb 5m\n\ta{b='c'}\t1 _x2 {{schema:0 sum:1 buckets:[1 2]}}x1\n# end\n"
        "eval range from 0 to 1h step 30s rate(a[5m])\n\texpect no_info\n\texpect warn msg: x: y\n"
    )
    clear, load, case = read_script(text)
    assert isinstance(clear, Clear)
    assert isinstance(load, Load)
    assert load.custom_buckets
    assert load.step_ms == 300_000
    assert len(load.series[0].values) == 5
    assert isinstance(case, Eval)
    assert (case.start_ms, case.end_ms, case.step_ms) == (0, 3_600_000, 30_000)
    assert case.query == "rate(a[5m])"
    assert case.expect.no_info
    assert case.expect.warns[0].msg == "x: y"


@pytest.mark.parametrize(
    ("items", "values"),
    [
        ("1 2.5 -3e2", [1, 2.5, -300]),
        ("_ 1 _x2", [None, 1, None, None]),
        ("4x2", [4, 4, 4]),
        ("3-10x4", [3, -7, -17, -27, -37]),
        ("0+0.1x3", [0, 0.1, 0.2, 0.30000000000000004]),
        ("0x10", [0] * 11),
        ("010 1_000", [8, 1000]),
        ("Inf -inf +INF", [float("inf"), float("-inf"), float("inf")]),
        ("x", None),
        ("NaNx3", None),
        ("1+1", None),
        ("1+-1x2", None),
        ("1x", None),
        ("stalex2", None),
        ("1x99999999999999999999", None),
        ("{{schema:0", None),
        ("{{}}", [Histogram(())]),
        ("{{count:1}}+{{count:2}}x1", 2),
        ("{{count:1 count:1}}", None),
        ("{{colour:1}}", None),
    ],
)
def test_values(items, values):
    if values is None:
        with pytest.raises(BadInput):
            parse_series(f"m {items}")
        return
    found = parse_series(f"m {items}").values
    if isinstance(values, int):
        assert len(found) == values
    else:
        assert list(found) == values


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("m", (("__name__", "m"),)),
        ("sum 1", (("__name__", "sum"),)),
        ('m{b="2", a="1",} 1', (("__name__", "m"), ("a", "1"), ("b", "2"))),
        ('{"a name", "l.x"="v"}', (("__name__", "a name"), ("l.x", "v"))),
        ('{a=""} 1', ()),
        ("{} 1", ()),
        (r'm{a="é\x41\n"} 1', (("__name__", "m"), ("a", "éA\n"))),
        ("on 1", None),
        ("nan 1", None),
        ('m{a!="1"} 1', None),
        ('m{a="1"}1', None),
        ("9m 1", None),
    ],
)
def test_series_labels(text, labels):
    if labels is None:
        with pytest.raises(BadInput):
            parse_series(text)
    else:
        assert parse_series(text).labels == labels


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nwhat 1", 2),
        ("load\n", 1),
        ("load 1x\n", 1),
        ("load 1m\n m 1\n m{\n", 3),
        ("eval instant at 1m\n", 1),
        ("eval range from 1m to 0 step 1m x\n", 1),
        ("eval instant at 1m x\n\texpect nothing\n", 2),
        ("eval instant at 1m x\n expect warn\n expect no_warn\n", 3),
    ],
)
def test_bad_scripts_name_their_line(text, line):
    with pytest.raises(ScriptError) as caught:
        list(read_script(text))
    assert caught.value.line == line
    assert [where for where, _ in run_script(text, "s").failures] == [line]


def test_histogram_cases_say_why_they_fail():
    text = "load 1m\n h {{count:1 sum:1}}\n\neval instant at 0 h\n h {{count:1 sum:1}}\n"
    ((_, message),) = run_script(text, "s").failures
    assert "native histograms are not supported yet" in message


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1.0, 1.0 + 1e-7, True),
        (1.0, 1.0 + 1e-5, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
        (float("inf"), float("inf"), True),
        (float("inf"), float("-inf"), False),
        (0.0, 1e-300, False),
        (0.0, -0.0, True),
    ],
)
def test_almost_equal(left, right, equal):
    assert almost_equal(left, right) is equal


def test_command_prints_failures_and_exits_with_one(tmp_path):
    good, bad = tmp_path / "good.test", tmp_path / "bad.test"
    good.write_text("eval instant at 0 1\n 1\n")
    bad.write_text("eval instant at 0 1\n 2\n")
    result = CliRunner().invoke(promqltest, [str(good)])
    assert (result.exit_code, result.output) == (0, "1 passed, 0 failed\n")
    result = CliRunner().invoke(promqltest, [str(good), str(bad)])
    assert result.exit_code == 1
    assert result.output == f"{bad}:1: got 1.0 want 2.0\n1 passed, 1 failed\n"
