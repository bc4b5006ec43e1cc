"""The queries of a dashboard, and of what a dashboard is edited with, timed on every system that has the data.

All are asked once unmeasured, because a dashboard's first minute says little about its day: caches fill, our kernels
load. Then each is asked once more unmeasured and seven times over one kept-alive connection, uncompressed, with
the result cache off where there is one; its time is the median, from sending the request to the last byte. What
we answer is compared with Prometheus' answer, so that a wrong one can't look fast. For VictoriaMetrics
no such comparison is made: it differs on purpose.
"""

import http.client
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from bench.answers import difference
from bench.dataset import instance
from bench.fleet import START_MS
from bench.system import HOST, BenchError, System, only
from bench.table import Table, figure, geometric_mean, times_better

REPETITIONS = 7
# A query that takes longer is asked less often, so that one slow answer doesn't take the whole evening.
_SLOW_SECONDS = 3.0
_SLOW_REPETITIONS = 3
_KINDS = {"r": "Range queries", "i": "Instant queries", "m": "Labels and series"}


@dataclass(frozen=True)
class Query:
    """A request of Prometheus' HTTP API, without the prefix that a system puts before it."""

    id: str
    title: str
    step: str
    path: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Timing:
    """Of one query at one system: milliseconds (the median), and the answer."""

    milliseconds: float
    body: bytes


def queries(hosts: int, hours: float) -> list[Query]:
    """All of them, over the whole data set of that size."""
    listed = orjson.loads((Path(__file__).parent / "queries.json").read_bytes())
    return [_query(item, hosts, START_MS // 1000, int(hours * 3600)) for item in listed]


def _query(item: dict[str, Any], hosts: int, start: int, seconds: int) -> Query:
    expression = item.get("query", "").replace("$INSTANCE", instance(min(42, hosts - 1)))
    end, step = start + seconds, item.get("step", "")
    window = [("start", str(start)), ("end", str(end))]
    path, parameters = {
        # Fifteen seconds before the end each host has been scraped for the last time, or is just about to.
        "instant": ("query", [("query", expression), ("time", str(end - 15))]),
        "range": ("query_range", [("query", expression), *window, ("step", str(step))]),
        "labels": ("labels", window),
        "label_values": (f"label/{item.get('label')}/values", window),
        "series": ("series", window),
    }[item["kind"]]
    matches = [("match[]", match) for match in item.get("match", ())]
    return Query(item["id"], item["title"], str(step), f"/api/v1/{path}", (*parameters, *matches))


def measure(systems: list[System], asked: list[Query]) -> dict[str, dict[str, Timing]]:
    """By system and id. A query that a system refuses is missing, and said on the terminal.

    Query by query, so that a host whose speed changes by the minute changes it for all systems.
    """
    timings: dict[str, dict[str, Timing]] = {system.name: {} for system in systems}
    for measured in (False, True):
        for query in asked:
            for system in systems:
                with only(system, systems):
                    _note(timings[system.name], system, query, measured=measured)
        if not measured:
            _let_finish(systems)
    return timings


def _let_finish(systems: list[System]) -> None:
    """What the first round has begun, as we then load kernels, must not be in what the second one measures."""
    for system in systems:
        with only(system, systems):
            system.wait_until_quiet()


def _note(timings: dict[str, Timing], system: System, query: Query, *, measured: bool) -> None:
    connection = http.client.HTTPConnection(HOST, system.port, timeout=300)
    try:
        timings[query.id] = _timing(connection, system, query, measured=measured)
    except BenchError as error:
        print(f"{system.name} {query.id}: {error}", flush=True)
    finally:
        connection.close()


def _timing(
    connection: http.client.HTTPConnection, system: System, query: Query, *, measured: bool
) -> Timing:
    parameters = [*query.parameters, *system.uncached.items()]
    target = f"{system.prefix}{query.path}?{urlencode(parameters)}"
    headers = {"Accept-Encoding": "identity", **system.headers}
    seconds, body = _ask(connection, target, headers)
    if not measured:
        return Timing(seconds * 1000, body)
    repetitions = _SLOW_REPETITIONS if seconds > _SLOW_SECONDS else REPETITIONS
    times = [_ask(connection, target, headers)[0] for _ in range(repetitions)]
    return Timing(statistics.median(times) * 1000, body)


def _ask(
    connection: http.client.HTTPConnection, target: str, headers: dict[str, str]
) -> tuple[float, bytes]:
    """Seconds and body. A server may close a connection that was idle; then it is asked anew."""
    for _ in range(2):
        begun = time.perf_counter()
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            continue
        if answer.status != 200:
            raise BenchError(f"{answer.status} {body[:200].decode('utf-8', 'replace')}")
        return time.perf_counter() - begun, body
    raise BenchError("the server keeps closing the connection")


def run(systems: list[System], hosts: int, hours: float) -> list[Table]:
    """All queries at all systems, one system at a time."""
    asked = queries(hosts, hours)
    timings = measure(systems, asked)
    tables = [
        _table(title, [query for query in asked if query.id.startswith(kind)], timings)
        for kind, title in _KINDS.items()
    ]
    ours, ranges = systems[0], [query for query in asked if query.id.startswith("r")]
    with only(ours, systems):
        return [*tables, _refreshing(ours, ranges, timings[ours.name])]


def _refreshing(system: System, asked: list[Query], evaluated: dict[str, Timing]) -> Table:
    """Our result cache: a window as long as the query's less seven steps, moved on by a step each time."""
    connection = http.client.HTTPConnection(HOST, system.port, timeout=300)
    rows: list[list[str]] = []
    for query in asked:
        values = dict(query.parameters)
        start, end, step = (int(values[name]) for name in ("start", "end", "step"))
        times = []
        for moved in range(REPETITIONS + 1):
            window = {"start": start + moved * step, "end": end + (moved - REPETITIONS) * step}
            target = f"{system.prefix}{query.path}?{urlencode(values | window)}"
            times.append(_ask(connection, target, system.headers)[0] * 1000)
        whole, refresh = evaluated[query.id].milliseconds, statistics.median(times[1:])
        row = [query.id, query.title, query.step, figure(whole), figure(refresh)]
        rows.append([*row, times_better(refresh, whole)])
    connection.close()
    heads = ["id", "question", "step", "evaluated, ms", "refreshed, ms", "gain"]
    return Table("Refreshing a range query, with the result cache", heads, rows)


def _table(title: str, asked: list[Query], timings: dict[str, dict[str, Timing]]) -> Table:
    ours, *peers = timings
    rows: list[list[str]] = []
    for query in asked:
        at = {name: timings[name].get(query.id) for name in timings}
        mine = at[ours]
        times = {name: found.milliseconds for name, found in at.items() if found}
        ratios = [times_better(times.get(ours), times.get(peer)) for peer in peers]
        size = f"{len(mine.body):,}" if mine else ""
        rows.append(
            [
                query.id,
                query.title,
                query.step,
                *(figure(times.get(name)) for name in at),
                *ratios,
                size,
                _verdict(mine, at),
            ]
        )
    means = [_mean_ratio(asked, timings[peer], timings[ours]) for peer in peers]
    own = [timings[ours][query.id].milliseconds for query in asked if query.id in timings[ours]]
    blank = [""] * len(peers)
    mean = figure(geometric_mean(own))
    rows.append(["", "geometric mean", "", mean, *blank, *means, "", ""])
    heads = ["id", "question", "step", *(f"{name}, ms" for name in timings)]
    heads += [f"vs {peer}" for peer in peers]
    return Table(title, [*heads, "bytes", "answer"], rows)


def _mean_ratio(asked: list[Query], theirs: dict[str, Timing], ours: dict[str, Timing]) -> str:
    both = [query.id for query in asked if query.id in theirs and query.id in ours]
    ratios = [theirs[each].milliseconds / ours[each].milliseconds for each in both]
    return times_better(1, geometric_mean(ratios))


def _verdict(mine: Timing | None, at: dict[str, Timing | None]) -> str:
    if mine is None:
        return "refused"
    theirs = at.get("Prometheus")
    if theirs is None or mine is theirs:
        return ""
    found = difference(mine.body, theirs.body)
    return "same" if found is None else f"differs: {found[:160]}"
