"""`format_query`, `parse_query` and `query_exemplars` (contract 3): what is asked about an expression's text."""

from meterhall.model.errors import BadInput
from meterhall.promql.ast_json import to_json
from meterhall.promql.printer import format_expr
from meterhall.web.encode import encode_data
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import Answer, Backend, Call


def format_query(backend: Backend, call: Call) -> Answer:
    """The expression in canonical spelling."""
    try:
        return encode_data(format_expr(backend.parse(call.form.first("query"))))
    except BadInput as error:
        raise params.invalid("query", error) from None


def parse_query(backend: Backend, call: Call) -> Answer:
    """The expression as a tree."""
    try:
        return encode_data(to_json(backend.parse(call.form.first("query"))))
    except BadInput as error:
        raise params.invalid("query", error) from None


def query_exemplars(backend: Backend, call: Call) -> Answer:
    """No exemplars are stored: an empty list for every sound expression.

    An expression without a selector gets the list too, where Prometheus has a 204: Grafana reads every
    success as JSON.
    """
    start_ms = params.optional_time_ms(call.form, "start", params.TIME_MS_MIN)
    end_ms = params.optional_time_ms(call.form, "end", params.TIME_MS_MAX)
    if end_ms < start_ms:
        raise BadInput("end timestamp must not be before start timestamp")
    backend.parse(call.form.first("query"))
    return encode_data([])
