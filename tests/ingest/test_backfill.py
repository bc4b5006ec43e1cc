"""The back-fill right, for as long as it lasts."""

from meterhall.ingest.backfill import BackfillWriter
from meterhall.model.samples import rows_of


class Asked:
    """A writer that notes who claims the right."""

    def __init__(self):
        self.claims = []
        self.broken = False

    def intern(self, clock, series, series_max=None):
        return clock, series, series_max

    def append(self, rows, *, any_age=False):
        if self.broken:
            raise OSError
        self.claims.append(any_age)


def test_the_right_is_claimed_as_often_as_it_is_given():
    rows = [rows_of(1, [1], [1.0])]
    for appends, claims in (
        (None, [True, True, True]),
        (1, [True, False, False]),
        (0, [False] * 3),
    ):
        asked = Asked()
        writer = BackfillWriter(asked, appends)
        for _ in range(3):
            writer.append(rows)
        assert asked.claims == claims
        assert writer.intern("clock", [], 7) == ("clock", [], 7)


def test_an_append_that_failed_uses_nothing_up():
    asked = Asked()
    writer = BackfillWriter(asked, 1)
    asked.broken = True
    try:
        writer.append([])
    except OSError:
        asked.broken = False
    writer.append([])
    assert asked.claims == [True]
