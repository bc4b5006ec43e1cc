"""What the event loop answers itself: plain selectors of a few series, at one time or over a grid; lists of labels.

Nothing is done before it is known to be small (docs/adr/0007). Parameters are the expression and its times alone (`nocache`
has nothing to say here) and take no more than two kilobytes. The expression has been answered by a worker before and is
a selector of equalities, so it is looked up here by its text and never parsed. The reader then tells samples from
memory or says that it cannot without waiting, reading or searching. Whatever fails one of these goes to a worker as
any other query. So does what comes too soon after an answer over a grid or a list, which may take the loop some tenths of a
millisecond.
"""

from collections.abc import Callable

from meterhall.ports.series import SeriesReader
from meterhall.promql.nodes import VectorSelector
from meterhall.query.engine import AT_ONCE_POINTS_MAX, AT_ONCE_SERIES_MAX, quick_selector
from meterhall.telemetry.metrics import QUERY_SECONDS
from meterhall.web.encode import Notes, encode_data, encode_held, encode_query
from meterhall.web.prometheus import params, queries, series
from meterhall.web.prometheus.call import Backend, Call, Handler

_PARAMETER_BYTES_MAX = 2048
_KNOWN_MAX = 1024
_INSTANT = frozenset(("query", "time", "nocache"))
_RANGE = frozenset(("query", "start", "end", "step", "nocache"))
_LABELS = frozenset(("start", "end", "nocache"))
# `estimate_bytes` of all these answers is below it.
_ANSWER_BYTES_MAX = 64 << 10
# For so long the loop is left to others after such an answer.
_REST_S = 0.0001


class QuickQueries:
    """The selectors that are known, by their text. They hold nothing of any tenant."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, VectorSelector] = {}
        # An operator may allow less than is answered here.
        limits = backend.settings.queries.limits
        points_max = min(limits.samples_max, limits.steps_max, limits.array_bytes_max // 8)
        self._allowed = (
            points_max >= AT_ONCE_POINTS_MAX
            and limits.series_max >= AT_ONCE_SERIES_MAX
            and backend.settings.answer_bytes_max >= _ANSWER_BYTES_MAX
        )
        self._rested_at = 0.0
        self._ways: dict[Handler, Callable[[Call], bytes | None]] = {
            queries.query: self._instant,
            queries.query_range: self._over_range,
            series.labels: self._label_names,
            series.label_values: self._label_values,
        }

    def learn(self, handler: Handler, call: Call) -> None:
        """Remembers the expression of a query that was answered, where it may be quick. For workers."""
        if handler not in (queries.query, queries.query_range) or not self._allowed:
            return
        text = call.form.first("query")
        if text in self._known or len(text) > _PARAMETER_BYTES_MAX:
            return
        selector = quick_selector(self._backend.parse(text))
        if selector is not None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[text] = selector

    def answer(self, handler: Handler, call: Call) -> bytes | None:
        """The body of what a handler would answer, or None where a worker must find it. Raises BadInput."""
        way = self._ways.get(handler)
        size = len(call.query_string) + len(call.body) + len(call.label_name)
        return None if way is None or size > _PARAMETER_BYTES_MAX else way(call)

    def _instant(self, call: Call) -> bytes | None:
        selector = self._selector(call, _INSTANT)
        if selector is None:
            return None
        backend = self._backend
        begun = backend.clock.monotonic()
        time_ms = params.optional_time_ms(call.form, "time", backend.clock.now_ms())
        value = backend.engine.at_once(backend.store.reader(call.tenant), selector, time_ms)
        if value is None:
            return None
        QUERY_SECONDS.observe(backend.clock.monotonic() - begun)
        return b"".join(encode_query(value, Notes()))

    def _over_range(self, call: Call) -> bytes | None:
        selector = self._selector(call, _RANGE)
        backend = self._backend
        begun = backend.clock.monotonic()
        if selector is None or begun < self._rested_at:
            return None
        grid = params.grid_of(call.form)
        held = backend.engine.range_at_once(backend.store.reader(call.tenant), selector, *grid)
        if held is None:
            return None
        body = encode_held(held)
        if body is None:
            body = b"".join(encode_query(backend.engine.looked_up(held), Notes()))
        QUERY_SECONDS.observe(backend.clock.monotonic() - begun)
        self._rest()
        return body

    def _label_names(self, call: Call) -> bytes | None:
        return self._list(call, lambda reader, within: reader.label_names_at_hand(*within))

    def _label_values(self, call: Call) -> bytes | None:
        name = series.label_of(call)
        return self._list(call, lambda reader, within: reader.label_values_at_hand(name, *within))

    def _list(
        self, call: Call, texts: Callable[[SeriesReader, tuple[int, int]], list[str] | None]
    ) -> bytes | None:
        """The body of a list of all labels' names or of one's values."""
        begun = self._backend.clock.monotonic()
        if begun < self._rested_at or not call.form.names <= _LABELS:
            return None
        found = texts(self._backend.store.reader(call.tenant), series.range_of(call))
        if found is None:
            return None
        body = encode_data(found)
        self._rest()
        return body

    def _rest(self) -> None:
        """Leaves the loop to others for a while."""
        self._rested_at = self._backend.clock.monotonic() + _REST_S

    def _selector(self, call: Call, parameters: frozenset[str]) -> VectorSelector | None:
        """The selector that is asked for, where it is known and nothing but these parameters is given."""
        if not self._known:
            return None
        selector = self._known.get(call.form.first("query"))
        return selector if call.form.names <= parameters else None
