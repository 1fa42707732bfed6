"""The signed-rank interval against scipy's test and published tables."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.signed_rank import (
    fewest_pairs,
    interval,
    left_out,
    rejects,
    upper_p,
)
from scipy import stats


def test_p_is_scipys() -> None:
    rng = np.random.default_rng()
    for n in rng.integers(4, 40, size=50):
        differences = rng.standard_t(2, size=n) + rng.normal()
        exact = stats.wilcoxon(differences, alternative="greater", method="exact")
        assert upper_p(differences) == pytest.approx(exact.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "level", "critical"),
    # Critical values of the smaller rank sum, two-sided: Wilcoxon and Wilcox (1964), table 2.
    [
        (6, 0.05, 0),
        (8, 0.05, 3),
        (10, 0.05, 8),
        (15, 0.05, 25),
        (20, 0.05, 52),
        (25, 0.05, 89),
        (8, 0.01, 0),
        (10, 0.01, 3),
        (20, 0.01, 37),
        (25, 0.01, 68),
    ],
)
def test_the_interval_leaves_out_what_the_tables_say(n: int, level: float, critical: int) -> None:
    assert left_out(n, level) == critical


def test_a_difference_of_zero_counts_half_its_rank() -> None:
    """Ranks 2 to 6 are 20, and half of rank 1 is rounded down. Of 64 signs two reach 20: all
    positive, and all but the least."""
    assert upper_p(np.arange(6.0)) == pytest.approx(2 / 64)


def test_too_few_differences_have_no_finite_interval() -> None:
    assert fewest_pairs(0.05) == 6
    # 2 of 256 signs are at most a hundredth, 2 of 128 are not.
    assert fewest_pairs(0.01) == 8
    assert interval([0.1, 0.2, 0.3, 0.4, 0.5], 0.05).high == float("inf")
    assert interval([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.05).low == pytest.approx(0.1)


def test_interval_and_test_and_p_agree() -> None:
    rng = np.random.default_rng()
    for _ in range(200):
        differences = rng.normal(0.3, 1, size=rng.integers(5, 30))
        level = float(rng.choice([0.2, 0.05, 0.01, 0.0147]))
        null = float(rng.normal(0, 0.3))
        above = interval(differences, level).low > null
        assert rejects(differences[None, :], null, level)[0] == above
        assert (upper_p(differences, null) <= level / 2) == above


def test_ties_and_zeros_speak_for_nothing() -> None:
    assert upper_p(np.zeros(12)) > 0.4
    assert interval(np.full(12, 0.25), 0.05).low == 0.25


def test_one_wild_difference_moves_little() -> None:
    rng = np.random.default_rng()
    calm = rng.normal(0, 0.01, size=20)
    wild = np.append(calm[:-1], 50.0)
    assert interval(wild, 0.05).high < 0.03
