"""What a tenant's sources declare, how long it is kept, and how much of it."""

import pytest

from meterhall.ingest.limits import MetadataLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.model.metadata import Metadata
from meterhall.model.tenant import Tenant

A, B = Tenant("kr", "a"), Tenant("kr", "b")
COUNTER, GAUGE = Metadata("counter", "says", ""), Metadata("gauge", "says", "")


def test_declarations_of_all_sources_are_joined_and_distinct():
    catalog = MetadataCatalog()
    catalog.scraped(A, "1", {"m": COUNTER, "z": GAUGE})
    catalog.scraped(A, "2", {"m": COUNTER})
    catalog.scraped(A, "3", {"m": GAUGE})
    catalog.pushed(A, {"b": GAUGE, "m": GAUGE})
    catalog.scraped(B, "1", {"other": GAUGE})
    assert catalog.families(A) == {"b": [GAUGE], "m": [COUNTER, GAUGE], "z": [GAUGE]}
    assert list(catalog.families(A)) == ["b", "m", "z"]
    assert catalog.families(Tenant("kr", "c")) == {}


@pytest.mark.parametrize("repeated", [True, False])
def test_a_family_is_kept_for_ten_scrapes_after_it_vanished(repeated):
    catalog = MetadataCatalog()
    catalog.scraped(A, "1", {"old": COUNTER, "new": GAUGE})
    later = {"new": GAUGE}
    for _ in range(10):
        catalog.scraped(A, "1", later if repeated else dict(later))
        assert "old" in catalog.families(A)
    catalog.scraped(A, "1", later if repeated else dict(later))
    assert list(catalog.families(A)) == ["new"]


def test_a_family_that_comes_back_is_one_again():
    catalog = MetadataCatalog()
    catalog.scraped(A, "1", {"m": COUNTER})
    catalog.scraped(A, "1", {})
    catalog.scraped(A, "1", {"m": GAUGE})
    assert catalog.families(A) == {"m": [GAUGE]}


def test_a_source_that_is_gone():
    catalog = MetadataCatalog()
    catalog.scraped(A, "1", {"m": COUNTER})
    catalog.scraped(A, "2", {"n": COUNTER})
    catalog.forget(A, "1")
    catalog.forget(A, "never there")
    catalog.forget(B, "1")
    assert list(catalog.families(A)) == ["n"]


def test_limits():
    catalog = MetadataCatalog(MetadataLimits(families_max=3, help_chars_max=4))
    for scrape in range(20):
        families = {f"m{scrape}_{i}": Metadata("gauge", "much to say", "") for i in range(5)}
        catalog.scraped(A, "1", families)
        catalog.pushed(A, {f"p{scrape}": GAUGE})
    families = catalog.families(A)
    assert len(families) == 9
    assert {metadata.help for family in families for metadata in families[family]} == {
        "much",
        "says",
    }
    catalog.pushed(A, {"p0": COUNTER})
    assert catalog.families(A)["p0"] == [Metadata("counter", "says", "")]
