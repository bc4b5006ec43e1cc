"""The merge of labels as a law; single cases are in test_scrape."""

from hypothesis import given
from hypothesis import strategies as st

from meterhall.ingest.stamp import stamp

STAMPS = {"instance": "i", "job": "j"}
NAMES = ("job", "instance", "exported_job", "exported_exported_job", "exported_instance", "x")


def by_the_book(scraped):
    """Prometheus' resolveConflictingExposedLabels, word for word."""
    labels = {name: value for name, value in scraped.items() if value}
    conflicting = [(name, labels[name]) for name in STAMPS if labels.get(name, "")]
    labels.update(STAMPS)
    for name, value in sorted(conflicting, key=lambda pair: len(pair[0])):
        new = name
        while True:
            new = "exported_" + new
            if not labels.get(new):
                labels[new] = value
                break
    return labels


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("", "1", "2"))))
def test_colliding_labels(scraped):
    scraped = {"__name__": "m", **scraped}
    got = stamp(tuple(sorted(scraped.items())), STAMPS, lambda _: None)
    assert got == tuple(sorted(by_the_book(scraped).items()))
