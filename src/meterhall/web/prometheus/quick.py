"""Instant queries that the event loop answers itself: plain selectors of a few series.

Nothing is done before it is known to be small (docs/adr/0007). Parameters are `query` and `time` alone (`nocache` has
nothing to say here) and take no more than two kilobytes. The expression has been answered by a worker before and is a selector of equalities,
so it is looked up here by its text and never parsed. The reader then tells newest samples from memory or says that
it cannot without waiting, reading or searching. Whatever fails one of these goes to a worker as any other query.
"""

from meterhall.promql.nodes import VectorSelector
from meterhall.query.engine import AT_ONCE_SERIES_MAX, quick_selector
from meterhall.telemetry.metrics import QUERY_SECONDS
from meterhall.web.encode import Notes, encode_query
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import Backend, Call

_PARAMETER_BYTES_MAX = 2048
_KNOWN_MAX = 1024
_PARAMETERS = frozenset(("query", "time", "nocache"))


class QuickQueries:
    """The selectors that are known, by their text. They hold nothing of any tenant."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, VectorSelector] = {}
        # An operator may allow fewer samples than are answered here.
        limits = backend.settings.queries.limits
        self._allowed = limits.samples_max >= AT_ONCE_SERIES_MAX

    def learn(self, call: Call) -> None:
        """Remembers the expression of a query that was answered, where it may be quick. For workers."""
        text = call.form.first("query")
        if text in self._known or len(text) > _PARAMETER_BYTES_MAX or not self._allowed:
            return
        selector = quick_selector(self._backend.parse(text))
        if selector is not None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[text] = selector

    def answer(self, call: Call) -> bytes | None:
        """The body of the answer, or None where a worker must find it. Raises BadInput."""
        if not self._known or len(call.query_string) + len(call.body) > _PARAMETER_BYTES_MAX:
            return None
        form = call.form
        selector = self._known.get(form.first("query"))
        if selector is None or not form.names <= _PARAMETERS:
            return None
        backend = self._backend
        begun = backend.clock.monotonic()
        time_ms = params.optional_time_ms(form, "time", backend.clock.now_ms())
        value = backend.engine.at_once(backend.store.reader(call.tenant), selector, time_ms)
        if value is None:
            return None
        QUERY_SECONDS.observe(backend.clock.monotonic() - begun)
        return b"".join(encode_query(value, Notes()))
