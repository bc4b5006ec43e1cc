"""The small calls: what one side writes the other reads, and bounds hold on both."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput
from meterhall.wire import agent_calls as calls

LIMITS = {"pageBytesMax": 1, "samplesMax": 2, "batchBytesMax": 3, "batchDecodedBytesMax": 4}
TARGET = {
    "targetId": "t",
    "job": "node",
    "port": 9100,
    "metricsPath": "/metrics",
    "intervalMs": 15_000,
    "timeoutMs": 10_000,
    "builtin": False,
}
TARGETS = {"revision": "r", "hostId": "h", "pollSeconds": 5, "targets": [TARGET], "limits": LIMITS}
ENROLMENT = {
    "agentId": "0" * 36,
    "hostname": "web",
    "address": "10.0.0.1",
    "os": "linux",
    "version": "1",
    "instanceId": None,
    "region": None,
}
MESSAGES = [
    (calls.Enrolment, ENROLMENT),
    (calls.Enrolled, {"hostId": "h", "key": "k", "region": "kr"}),
    (calls.AgentTargets, TARGETS),
    (
        calls.ReportAnswer,
        {"stored": 1, "unknownShapes": [7], "refused": [{"seq": 8, "reason": "no such target"}]},
    ),
    (calls.Refusal, {"error": "a sentence"}),
]


@pytest.mark.parametrize(("kind", "fields"), MESSAGES)
def test_a_message_is_its_json(kind, fields):
    message = calls.decode_message(json.dumps(fields | {"newer": 1}).encode(), kind)
    assert json.loads(calls.encode_message(message)) == fields


REFUSED = [
    (calls.AgentTargets, TARGETS | {"targets": [TARGET | {"port": 65_536}]}),
    (calls.AgentTargets, TARGETS | {"targets": [TARGET | {"intervalMs": 1}]}),
    (calls.AgentTargets, TARGETS | {"targets": [TARGET] * 1_001}),
    (calls.AgentTargets, TARGETS | {"pollSeconds": 0}),
    (calls.AgentTargets, {"revision": "r"}),
    (calls.Enrolment, ENROLMENT | {"agentId": "short"}),
    (calls.Enrolment, ENROLMENT | {"hostname": "x" * 256}),
    (calls.Enrolled, []),
]


@pytest.mark.parametrize(("kind", "fields"), REFUSED)
def test_refused(kind, fields):
    with pytest.raises(BadInput, match=f"no {kind.__name__}"):
        calls.decode_message(json.dumps(fields).encode(), kind)


def test_nesting_is_refused():
    with pytest.raises(BadInput):
        calls.decode_message(b"[" * 100_000, calls.AgentTargets)


@given(st.binary(max_size=80))
def test_nothing_but_the_typed_error(rubbish):
    for kind, _ in MESSAGES:
        with contextlib.suppress(BadInput):
            calls.decode_message(rubbish, kind)
