"""Intervals over runs against worked examples in print, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from llmbench.harness.stats.between_runs import of_groups, of_pairs, reach, spread

# Student (1908): hours of sleep gained by ten patients with either drug. R ships it as `sleep`.
FIRST = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def test_students_own_example() -> None:
    """R's manual of t.test: mean of the differences 1.58, 95 % interval 0.7001 to 2.4599."""
    found = of_pairs(FIRST, SECOND)
    assert found.value == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_two_runs_by_hand() -> None:
    """10 and 12: mean 11, standard deviation sqrt(2); 12.706 x sqrt(2) / sqrt(2) either way."""
    found = spread((10.0, 12.0))
    assert (found.runs, found.mean, found.std) == (2, 11.0, pytest.approx(2**0.5))
    assert (found.low, found.high) == pytest.approx((11 - 12.706, 11 + 12.706), abs=5e-4)


@pytest.mark.parametrize(("runs", "half"), [(2, 8.985), (3, 2.484), (5, 1.242), (10, 0.715)])
def test_how_far_an_interval_reaches(runs: int, half: float) -> None:
    """t of the printed table over the root of the number of runs: 12.706, 4.303, 2.776, 2.262."""
    assert reach(runs) == pytest.approx(half, abs=1e-3)


def test_unpaired_runs_are_welchs_with_the_degrees_of_freedom_rounded_down() -> None:
    """R: t = -1.8608 with 17.776 degrees of freedom; here 17."""
    found = of_groups(FIRST, SECOND)
    half = 2.1098 * 1.58 / 1.8608
    assert found.value == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((1.58 - half, 1.58 + half), abs=1e-3)


def test_fresh_numbers_agree_with_scipy() -> None:
    rng = np.random.default_rng()
    a, b = rng.lognormal(size=6), rng.lognormal(size=6)
    pairs = scipy.stats.ttest_rel(b, a).confidence_interval(0.99)
    found = of_pairs(a, b, 0.99)
    assert (found.low, found.high) == pytest.approx((pairs.low, pairs.high))
    welch = scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.99)
    wider = of_groups(a, b, 0.99)
    assert wider.low <= welch.low + 1e-9
    assert wider.high >= welch.high - 1e-9


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    """Three runs at 95 %: 4 000 trials, whose share has a standard error of 0.34 points."""
    runs = np.random.default_rng(1).normal(5, 2, size=(4000, 3))
    held = [found.low <= 5 <= found.high for found in map(spread, runs)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_runs_that_agree_to_the_last_bit_have_no_width() -> None:
    found = spread((0.1 + 0.2, 0.3, 0.3))
    assert found.std == 0.0
    assert found.low == found.high
    both = of_groups((2.0, 2.0), (3.0, 3.0))
    assert (both.value, both.low, both.high) == (1.0, 1.0, 1.0)


def test_one_run_has_no_spread() -> None:
    with pytest.raises(ValueError, match="1 runs have no spread; at least 2"):
        spread((1.0,))
    with pytest.raises(ValueError, match="no spread"):
        of_groups((1.0,), (1.0, 2.0))
