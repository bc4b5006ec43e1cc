"""What the event loop answers itself is what a worker answers; what may be long goes to a worker."""

import threading

import numpy as np
import pytest
from tests.query.ways import WAYS, evaluated_by
from tests.web.prometheus.samples import SAMPLE_DATA, T0, a_counter

from meterhall.model.samples import STALE
from meterhall.query.budget import QueryLimits
from meterhall.query.result import GridResult
from meterhall.telemetry.metrics import QUERY_SECONDS
from meterhall.tsdb import at_hand
from meterhall.web import points
from meterhall.web.encode import estimate_bytes
from meterhall.web.prometheus import quick
from meterhall.web.prometheus.call import PrometheusSettings
from meterhall.web.prometheus.quick import QuickQueries
from meterhall.web.prometheus.runner import RunnerSettings

END = T0 + 600


@pytest.fixture
def quick_answers(monkeypatch):
    """How often the event loop answered by itself, for each answered request."""
    told = []
    ask = QuickQueries.answer

    def noted(self, handler, call):
        body = ask(self, handler, call)
        told.append(body is not None)
        return body

    monkeypatch.setattr(QuickQueries, "answer", noted)
    return told


EXPRESSIONS = [
    ('requests_total{instance="a:80"}', True),
    ("requests_total", True),
    ('{__name__="requests_total",job="web"}', True),
    ('requests_total{instance="nobody"}', True),
    ("requests_total offset 1m", True),
    (f"requests_total @ {T0 + 60}", True),
    ('special{kind="nan"}', True),
    ('special{kind="zero"}', True),
    ('stale{kind="ended"}', True),
    ("late", True),
    ('{instance="a:80"}', False),
    ("requests_total @ end()", False),
    ('requests_total{instance=~"a.*"}', False),
    ('requests_total{instance!="a:80"}', False),
    ('requests_total{rack=""}', False),
    ("(requests_total)", False),
    ("requests_total[1m]", False),
    ("requests_total + 0", False),
    ("requests_total anchored", False),
    ("many", False),
    ("1", False),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A server of this module's own, since others count the series of theirs."""
    from tests.web.prometheus.conftest import _server_factory

    for factory in _server_factory(tmp_path_factory.mktemp("quick")):
        server = factory()
        server.push(SAMPLE_DATA)
        server.push([a_counter("many", {"number": str(number)}) for number in range(9)])
        ended = [(T0 * 1000, 1.0), (T0 * 1000 + 200_000, STALE)]
        server.push([({"__name__": "stale", "kind": "ended"}, ended)])
        yield server


@pytest.mark.parametrize(("text", "may_be_quick"), EXPRESSIONS)
def test_an_answer_is_the_same_by_either_way(filled, quick_answers, text, may_be_quick):
    times = (T0, T0 + 0.413, T0 + 299, T0 + 300, END, END + 299.999, END + 300, T0 - 1)
    filled.get("query", query=text, time=T0)
    quick_answers.clear()
    for time in times:
        answers = [
            (
                ask("query", query=text, time=time).body,
                ask("query", query=text, time=time, timeout="1m").body,
            )
            for ask in (filled.get, filled.post)
        ]
        for one, other in answers:
            assert one == other
    with_timeout = quick_answers[1::2]
    assert not any(with_timeout)
    assert any(quick_answers[::2]) == may_be_quick


@pytest.fixture
def never_resting(monkeypatch):
    monkeypatch.setattr(quick, "_REST_S", 0.0)


@pytest.mark.usefixtures("never_resting")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("text", "may_be_quick"), EXPRESSIONS)
def test_so_is_an_answer_over_a_grid(filled, quick_answers, text, may_be_quick, way):
    grids = [
        (T0 - 600, END + 600, 15),
        (T0 + 0.413, END, 7),
        (T0, T0, 1),
        (END + 900, END + 999, 9),
    ]
    filled.get("query_range", query=text, start=T0, end=END, step=15)
    quick_answers.clear()
    for start, end, step in grids:
        grid = {"query": text, "start": start, "end": end, "step": step}
        for ask in (filled.get, filled.post):
            with evaluated_by(way, points, "points"):
                one = ask("query_range", **grid)
            assert one.body == ask("query_range", **grid, timeout="1m").body
    assert not any(quick_answers[1::2])
    assert any(quick_answers[::2]) == may_be_quick


@pytest.mark.usefixtures("never_resting")
def test_many_points_go_to_a_worker(filled, quick_answers):
    """Three series are found by this name."""

    def asked(points):
        window = {"start": T0, "end": T0 + points - 1, "step": 1}
        found = filled.get("query_range", query="requests_total", **window).data["result"]
        assert len(found) == 3
        return quick_answers[-1]

    asked(1)
    assert asked(quick.AT_ONCE_POINTS_MAX // 3)
    assert not asked(quick.AT_ONCE_POINTS_MAX // 3 + 1)


def test_the_loop_has_a_rest_after_a_grid(served, quick_answers, monkeypatch):
    grid = {"query": "requests_total", "start": T0, "end": END, "step": 15}
    for _ in range(2):
        served.get("query_range", **grid)
    assert quick_answers[-1]
    monkeypatch.setattr(quick, "_REST_S", 1e9)
    for _ in range(2):
        served.get("query_range", **grid)
    assert quick_answers[-2:] == [True, False]


LISTS = [
    "labels",
    "label/job/values",
    "label/__name__/values",
    "label/nobody/values",
    "label/U__instance/values",
]


@pytest.mark.usefixtures("never_resting")
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "window", [{}, {"start": T0, "end": END}, {"start": END + 9999}, {"end": ""}]
)
def test_lists_are_the_same_by_either_way(filled, quick_answers, path, window):
    one, other = filled.get(path, **window), filled.get(path, **window, limit=0)
    assert one.status == 200
    assert one.body == other.body
    assert quick_answers == [True, False]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [("labels", {"match[]": "late"}), ("label/job/values", {"limit": 1}), ("labels", {"x": "y"})],
)
def test_other_lists_go_to_a_worker(filled, quick_answers, path, parameters):
    assert filled.get(path, **parameters).status == 200
    assert quick_answers == [False]


def test_long_lists_go_to_a_worker(filled, quick_answers, monkeypatch):
    known = len(filled.get("label/__name__/values").data)
    monkeypatch.setattr(at_hand, "_TEXTS_MAX", known - 1)
    assert len(filled.get("label/__name__/values", end=END + 1e6).data) == known
    assert quick_answers == [True, False]


@pytest.mark.parametrize(
    ("path", "parameters"), [("label/U___fffd_/values", {}), ("labels", {"start": "soon"})]
)
def test_a_bad_list_is_told_as_by_a_worker(filled, path, parameters):
    one, other = filled.get(path, **parameters), filled.get(path, **parameters, limit=0)
    assert one.status == 400
    assert one.body == other.body


@pytest.mark.parametrize(
    "parameters",
    [{"stats": "all"}, {"limit": "1"}, {"lookback_delta": "10s"}, {"extra": "x" * 2048}],
)
def test_other_parameters_go_to_a_worker(served, quick_answers, parameters):
    for _ in range(2):
        served.get("query", query="requests_total", time=END)
    assert quick_answers[-1]
    assert served.get("query", query="requests_total", time=END, **parameters).status == 200
    assert not quick_answers[-1]


def test_there_is_no_cache_to_do_without(served, quick_answers):
    served.get("query", query="requests_total", time=END)
    assert served.get("query", query="requests_total", time=END, nocache=1).data["result"]
    assert quick_answers[-1]


def test_a_bad_time_is_told_as_by_a_worker(served):
    served.get("query", query="requests_total", time=END)
    status, error_type, text = served.get("query", query="requests_total", time="soon").error
    assert (status, error_type) == (400, "bad_data")
    assert text.startswith("invalid parameter \"time\": invalid time value for 'time'")


def test_nothing_is_quick_for_another_project(served, quick_answers):
    """The text is known, but the reader is the asker's own."""
    for _ in range(2):
        assert served.get("query", query="requests_total", time=END).data["result"]
    assert served.get("query", key="b", query="requests_total", time=END).data["result"] == []
    assert quick_answers[-2:] == [True, True]


def test_a_busy_head_is_not_waited_for(serve, quick_answers):
    server = serve()
    server.push([a_counter("m", {})])
    for _ in range(2):
        server.get("query", query="m", time=END)
    assert quick_answers[-1]
    (head,) = server.backend.store._tenants.heads()
    answers = []
    ask = threading.Thread(
        target=lambda: answers.append(server.get("query", query="m", time=END).data["result"])
    )
    with head.lock:
        ask.start()
        # The loop goes on answering while a worker waits for the lock.
        assert server.call("GET", "/prometheus/-/healthy").status == 200
        while len(quick_answers) < 3:
            assert server.call("GET", "/prometheus/-/healthy").status == 200
        assert quick_answers == [False, True, False]
    ask.join(30)
    assert len(answers[0]) == 1


def test_a_budget_below_a_few_samples_holds(serve):
    limits = RunnerSettings(limits=QueryLimits(samples_max=1))
    server = serve(PrometheusSettings(queries=limits))
    server.push([a_counter("m", {"i": str(number)}) for number in range(2)])
    for _ in range(3):
        assert server.get("query", query="m", time=END).error[0] == 422


@pytest.mark.parametrize(
    "settings",
    [
        PrometheusSettings(answer_bytes_max=1_000),
        PrometheusSettings(queries=RunnerSettings(limits=QueryLimits(samples_max=99))),
        PrometheusSettings(queries=RunnerSettings(limits=QueryLimits(array_bytes_max=799))),
    ],
)
def test_so_do_ceilings_of_an_answer_over_a_grid(serve, settings):
    server = serve(settings)
    server.push([a_counter("m", {})])
    for _ in range(3):
        found = server.get("query_range", query="m", start=T0, end=T0 + 99, step=1)
        assert found.error[0] == 422


def test_no_quick_answer_is_estimated_longer_than_what_is_allowed():
    grid = np.zeros(
        (quick.AT_ONCE_SERIES_MAX, quick.AT_ONCE_POINTS_MAX // quick.AT_ONCE_SERIES_MAX)
    )
    largest = GridResult([()] * len(grid), np.arange(grid.shape[1]), grid, None)
    assert estimate_bytes(largest) < quick._ANSWER_BYTES_MAX


def test_quick_answers_are_counted(served, quick_answers):
    def count():
        return next(
            sample.value
            for metric in QUERY_SECONDS.collect()
            for sample in metric.samples
            if sample.name.endswith("_count")
        )

    for _ in range(2):
        before = count()
        served.get("query", query="late", time=END)
        assert count() == before + 1
    assert quick_answers[-1]
