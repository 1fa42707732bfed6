"""Two clocks with one contract: time never goes back, and a sleep ends at its time or later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.engines.clock import VirtualClock, WallClock


def test_a_virtual_clock_moves_only_where_it_is_told_to() -> None:
    clock = VirtualClock()
    assert clock.now() == 0.0
    assert clock.now() == 0.0
    clock.advance(0.25)
    clock.advance(0.0)
    assert clock.now() == 0.25
    clock.sleep_until(2.0)
    assert clock.now() == 2.0


def test_a_sleep_that_is_past_ends_at_once() -> None:
    clock = VirtualClock()
    clock.advance(3.0)
    clock.sleep_until(1.0)
    assert clock.now() == 3.0


def test_a_virtual_clock_refuses_to_go_back_and_stays_where_it_is() -> None:
    clock = VirtualClock()
    clock.advance(1.0)
    with pytest.raises(ValueError, match=r"cannot go back by 0\.5 s"):
        clock.advance(-0.5)
    assert clock.now() == 1.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6)), max_size=30))
def test_no_clock_goes_back(moves: list[tuple[bool, float]]) -> None:
    clock = VirtualClock()
    for sleeps, time_s in moves:
        before = clock.now()
        if sleeps:
            clock.sleep_until(time_s)
            assert clock.now() >= time_s
        else:
            clock.advance(time_s)
        assert clock.now() >= before


def test_the_wall_clock_begins_at_zero_and_sleeps_until_the_time_or_later() -> None:
    clock = WallClock()
    first = clock.now()
    assert first >= 0
    clock.sleep_until(first + 0.002)
    assert clock.now() >= first + 0.002
    clock.sleep_until(0.0)
