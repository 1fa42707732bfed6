from __future__ import annotations

import itertools
import math

import pytest
from llmbench.reports.ticks import log_ticks, ratio_ticks, tick_text


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3.0, 80.0], [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
        ([0.0], []),
        ([2.0, 3284.0], [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]),
        ([1.0, 1e6], [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]),
    ],
)
def test_log_ticks(values: list[float], ticks: list[float]) -> None:
    assert log_ticks(values) == pytest.approx(ticks)


def test_a_tick_has_no_zeros_to_a_third_digit() -> None:
    ticks = log_ticks([0.01, 40.0])
    assert [*map(tick_text, ticks)] == ["0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30"]
    assert tick_text(3e4) == "30\u202f000"


@pytest.mark.parametrize("values", [[0.97, 1.02], [0.5, 1.6], [0.2, 16.0], [1e-3, 2.0], [1.0, 1.0]])
def test_ticks_hold_one_and_leave_room(values: list[float]) -> None:
    ticks = ratio_ticks(values)
    assert 1.0 in ticks
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 12
    gaps = [math.log(b / a) for a, b in itertools.pairwise(ticks)]
    assert all(gap > 0.02 for gap in gaps)


def test_ratios_that_are_close_to_one_have_a_tick_each_hundredth() -> None:
    ticks = ratio_ticks([0.99, 1.02])
    assert {0.99, 1.0, 1.01, 1.02} <= set(ticks)
