"""Steps in series that are looked at together."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.edivisive import change_points, fewest_values
from llmbench.harness.stats.step_family import family_steps

from ...chance import most


def test_of_a_family_of_one_it_is_the_series_own_test() -> None:
    values = [1.0, 1.2] * 3 + [9.0, 9.2] * 3
    assert family_steps([values]) == (change_points(values),)


def test_p_is_multiplied_by_as_many_as_are_still_in_doubt() -> None:
    """Of eleven values with no two alike 2 of the 462 ways to part five from six are as good; by
    turns, so that neighbours are not alike. 2 / 462 alone is below a hundredth, twice it is, three
    times it is not."""
    rng = np.random.default_rng(7)
    values = [0.0, 1.0, 0.1, 1.1, 0.2, 90.0, 91.0, 90.1, 91.1, 90.2, 91.2]
    flat = rng.normal(size=11).tolist()
    flat[::2] = [one + 3 for one in flat[::2]]
    assert change_points(flat) == ()
    for others, called in ((0, True), (4, False)):
        found, *rest = family_steps([values, *[flat] * others])
        assert bool(found) is called
        assert not any(rest)


def test_series_without_a_step_seldom_show_one_among_twelve() -> None:
    """Each alone at 5 % would call one in 46 % of families; together in 5 %."""
    rng = np.random.default_rng()
    alarms = sum(
        any(family_steps(rng.normal(size=(12, 16)).tolist(), significance=0.05)) for _ in range(40)
    )
    assert alarms <= most(40, 0.05)


@pytest.mark.parametrize(("count", "of"), [(11, 1), (15, 10), (15, 12)])
def test_how_many_values_a_family_takes(count: int, of: int) -> None:
    """2 of 462 is below 1 / 200, 2 of 6435 below 1 / 2000 and 1 / 2400; 2 of 252, 2 of 3432 not."""
    assert fewest_values(0.01 / of) == count
