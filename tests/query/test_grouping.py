"""Group keys picked by position are those picked by name."""

from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.labels import make_labels
from meterhall.query.grouping import Grouping, numbered

names = st.sampled_from(["__name__", "a", "b", "c", "d"])
series = st.lists(
    st.dictionaries(names, st.sampled_from("xyz"), max_size=5).map(make_labels), max_size=12
)


@given(series, st.frozensets(names, max_size=3), st.booleans())
def test_keys(labels, wanted, without):
    grouping = Grouping(wanted, without)
    assert grouping.keys(labels) == [grouping.key(one) for one in labels]


def test_numbers_are_in_order_of_appearance():
    numbers, keys = numbered([(("a", "2"),), (("a", "1"),), (("a", "2"),)])
    assert numbers.tolist() == [0, 1, 0]
    assert keys == [(("a", "2"),), (("a", "1"),)]
