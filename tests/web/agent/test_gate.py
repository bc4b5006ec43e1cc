"""Places, and when those who find none are to come back."""

from contextlib import ExitStack

import pytest
from tests.collect.clocks import ManualClock

from meterhall.model.errors import Overloaded
from meterhall.web.agent.gate import Gate


def refused(gate: Gate, who: str) -> int:
    with pytest.raises(Overloaded) as caught, gate.place(who):
        pass
    return caught.value.retry_after_s


def test_places_are_bounded_and_given_back():
    gate = Gate(2, "full", ManualClock())
    for _ in range(3):
        with ExitStack() as stack:
            stack.enter_context(gate.place("a"))
            stack.enter_context(gate.place("b"))
            assert refused(gate, "c") == 1
            assert refused(gate, "a") == 1


def test_a_place_is_given_back_after_a_failure():
    gate = Gate(1, "full", ManualClock())
    with pytest.raises(OSError, match="x"), gate.place("a"):
        raise OSError("x")
    with gate.place("b"):
        pass


def test_the_wait_fits_the_crowd_and_the_work():
    clock = ManualClock()
    gate = Gate(1, "full", clock)
    for _ in range(100):
        with gate.place("a"):
            clock.advance(2.0)
    with gate.place("a"):
        waits = [refused(gate, f"agent {number}") for number in range(50)]
        # Whoever asks twice waits once.
        assert refused(gate, "agent 49") == waits[-1]
    assert waits[0] == 2
    assert waits[9] == 20
    assert waits[-1] == 60
    with gate.place("agent 0"), ExitStack():
        assert refused(gate, "other") == 60
    clock.advance(200.0)
    with gate.place("a"):
        assert refused(gate, "other") <= 4
