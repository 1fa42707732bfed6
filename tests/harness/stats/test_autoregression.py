"""Correlation of neighbours about their level, and a series from its innovations."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.autoregression import (
    MOST,
    at_most,
    from_innovations,
    innovations,
    lag_one,
)


def test_a_correlation_worked_by_hand() -> None:
    # About their mean: -2 -1 0 1 2; products of neighbours 2 + 0 + 0 + 2 of 10 squares, and
    # (1 + 4 * 0.4) / 5 that the mean has cost.
    assert lag_one(np.arange(5.0)) == pytest.approx(min(0.4 + 0.52, MOST))
    # About the means of two levels: -1 -1 1 1 and -2 -2 2 2; (1 - 1 + 1 + 4 - 4 + 4) of 20, and
    # (2 + 6 * 0.25) / 8.
    values = np.array([4, 4, 6, 6, 98, 98, 102, 102.0])
    assert lag_one(values, [4]) == pytest.approx(0.25 + 3.5 / 8)


def test_a_step_is_no_correlation_once_it_is_known() -> None:
    values = np.tile([1.0, -1.0], 10) + np.repeat([0.0, 50.0], 10)
    assert lag_one(values) == MOST
    assert lag_one(values, [10]) == 0.0


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
def test_on_average_it_is_what_the_series_was_made_with(phi: float) -> None:
    """Of 300 series of 60 with a step, each some 0.13 off: the mean is within 0.05 but for one time
    in a million. Without what the means cost it would be 0.03 to 0.09 too small."""
    rng = np.random.default_rng()
    noise = rng.normal(size=(300, 160))
    for at in range(1, 160):
        noise[:, at] += phi * noise[:, at - 1]
    found = [lag_one(row[100:] + np.repeat([0.0, 9.0], 30), [30]) for row in noise]
    # Half of what is cut off at 0 where there is none.
    middle = np.median(found) if phi == 0.0 else np.mean(found)
    assert middle == pytest.approx(phi, abs=0.05)


def test_the_most_that_phi_may_be() -> None:
    # 0.6 + 1.645 * 0.8 / 8, and 0 + 1.645 / 10.
    assert at_most(0.6, 64) == pytest.approx(0.7645)
    assert at_most(0.0, 100) == pytest.approx(0.1645)
    assert at_most(0.8, 4) == MOST


def test_equal_values_have_none() -> None:
    assert lag_one(np.full(7, 3.0)) == 0.0


@pytest.mark.parametrize("phi", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_innovations_give_the_series_back(count: int, phi: float) -> None:
    values = np.random.default_rng().normal(size=count)
    again = from_innovations(count, phi) @ innovations(values, phi)
    np.testing.assert_allclose(again, values, rtol=1e-9, atol=1e-12)
    if phi == 0.0:
        assert again.tolist() == values.tolist()


def test_innovations_are_what_the_value_before_does_not_explain() -> None:
    assert innovations(np.array([4.0, 2.0, 3.0]), 0.5).tolist() == [2.5, 0.0, 2.0]
