"""Shapes by hash: each tenant's own, bounded in bytes."""

import pytest

from meterhall.control.access import issue_tenant
from meterhall.ingest.shapes import ShapeLibrary, ShapeLimits
from meterhall.model.errors import BadInput
from meterhall.wire.agent_report import shape_id

OURS, THEIRS = issue_tenant("kr", "ours"), issue_tenant("kr", "theirs")
TEXT = "text/plain"


def shape(number: int, size: int = 100) -> bytes:
    return f"metric_{number} ".encode().rjust(size, b"x")


def add(library: ShapeLibrary, tenant, text: bytes):
    return library.add(tenant, shape_id(text), TEXT, text)


def test_a_shape_is_found_by_its_hash_and_kept_once():
    library = ShapeLibrary(ShapeLimits())
    text = shape(1)
    assert library.find(OURS, shape_id(text), TEXT) is None
    known = add(library, OURS, text)
    assert add(library, OURS, text) is known
    assert library.find(OURS, shape_id(text), TEXT) is known
    assert library.bytes_held == 100
    # The same bytes under another content type are another page.
    assert library.find(OURS, shape_id(text), "application/openmetrics-text") is None


def test_a_hash_tells_nothing_of_another_tenant():
    library = ShapeLibrary(ShapeLimits())
    known = add(library, THEIRS, shape(1))
    assert library.find(OURS, shape_id(shape(1)), TEXT) is None
    assert add(library, OURS, shape(1)) is not known


def test_a_false_name_is_refused():
    library = ShapeLibrary(ShapeLimits())
    with pytest.raises(BadInput, match="hash"):
        library.add(OURS, b"0" * 16, TEXT, shape(1))
    assert library.bytes_held == 0


def test_the_least_used_shapes_of_the_same_tenant_go_first():
    library = ShapeLibrary(ShapeLimits(tenant_bytes_max=300, bytes_max=10_000))
    theirs = add(library, THEIRS, shape(0))
    for number in (1, 2, 3):
        add(library, OURS, shape(number))
    library.find(OURS, shape_id(shape(1)), TEXT)
    add(library, OURS, shape(4))
    found = [n for n in range(5) if library.find(OURS, shape_id(shape(n)), TEXT)]
    assert found == [1, 3, 4]
    assert library.find(THEIRS, shape_id(shape(0)), TEXT) is theirs
    assert library.bytes_held == 400


def test_all_together_are_bounded():
    library = ShapeLibrary(ShapeLimits(tenant_bytes_max=300, bytes_max=400))
    for number in range(50):
        add(library, issue_tenant("kr", f"p{number}"), shape(number))
        assert library.bytes_held <= 400
    huge = shape(1, size=5_000)
    add(library, OURS, huge)
    assert library.find(OURS, shape_id(huge), TEXT) is None
    assert library.bytes_held <= 400
