"""`admin/tsdb/*` for a project's own series: delete_series and clean_tombstones. Scope `manage`, POST or PUT.

The wire is Prometheus': 204 and an empty body. `dry_run=true` deletes nothing and counts what would go. What
concerns the whole store (snapshots) is the operator's, on the admin listener.
"""

from meterhall.model.errors import BadInput
from meterhall.model.labels import Labels
from meterhall.model.samples import is_absent
from meterhall.ports.series import MatcherSets, SeriesReader
from meterhall.web.encode import encode_data
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import Answer, Backend, Call

# Further than any sample: int64 milliseconds with room to count on.
_MIN_MS, _MAX_MS = -(2**62), 2**62
_DRY_RUN = {"": False, "false": False, "true": True}


def delete_series(backend: Backend, call: Call) -> Answer:
    """Deletes the series that any selector matches, between `start` and `end`; durable when it answers."""
    form = call.form
    if not form.all("match[]"):
        raise BadInput("no match[] parameter provided")
    start_ms = params.optional_time_ms(form, "start", _MIN_MS)
    end_ms = params.optional_time_ms(form, "end", _MAX_MS)
    try:
        sets = params.matcher_sets(form.all("match[]"))
    except BadInput as error:
        raise params.invalid("match[]", error) from None
    dry_run = _DRY_RUN.get(form.first("dry_run"))
    if dry_run is None:
        raise params.invalid("dry_run", BadInput("allowed: true, false"))
    if dry_run:
        return _counted(backend.store.reader(call.tenant), sets, start_ms, end_ms, call)
    if start_ms <= end_ms:
        for matchers in sets:
            backend.store.delete(call.tenant, matchers, start_ms, end_ms)
    return None


def clean_tombstones(backend: Backend, call: Call) -> Answer:
    """Gives the space of deleted samples back before it answers."""
    backend.store.clean(call.tenant)
    return None


def _counted(
    reader: SeriesReader, sets: MatcherSets, start_ms: int, end_ms: int, call: Call
) -> Answer:
    """How many series and samples would be deleted. A series that two selectors match counts once."""
    budget = call.ticket.budget(call.ticket.timeout_s)
    counts: dict[Labels, int] = {}
    for matchers in sets:
        selection = reader.select(matchers, start_ms, end_ms)
        for group in selection.groups():
            budget.check()
            present = (~is_absent(group.values)).sum(axis=1)
            for row, samples in zip(group.rows.tolist(), present.tolist(), strict=True):
                if samples:
                    counts[selection.labels[row]] = samples
    return encode_data({"series": len(counts), "samples": sum(counts.values())})
