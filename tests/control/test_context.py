"""Which topics each kind of change moves."""

import pytest

from meterhall.control.plane import Control


@pytest.mark.parametrize(
    ("verb", "topics"),
    [
        ("change_access", {"access"}),
        ("change_inventory", {"inventory"}),
        ("change_all", {"access", "inventory"}),
    ],
)
def test_topics(control: Control, verb: str, topics: set[str]) -> None:
    before = control.database.counters()
    assert getattr(control.context, verb)(lambda connection: connection.in_transaction()) is True
    after = control.database.counters()
    assert {topic for topic in after if after[topic] != before[topic]} == topics
