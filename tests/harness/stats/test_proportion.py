"""Wilson's interval against the table of Newcombe, Statistics in Medicine 17 (1998), table I."""

from __future__ import annotations

import pytest
from llmbench.harness.stats.proportion import fewest_to_show, wilson


@pytest.mark.parametrize(
    ("kept", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_published_intervals(kept: int, trials: int, low: float, high: float) -> None:
    assert wilson(kept / trials, trials) == pytest.approx((low, high), abs=5e-5)
    # What failed is what did not hold.
    assert wilson(1 - kept / trials, trials) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_one_trial_fewer_would_not_show_it(share: float) -> None:
    fewest = fewest_to_show(share)
    assert fewest is not None
    assert wilson(1.0, fewest)[0] >= share > wilson(1.0, fewest - 1)[0]


def test_no_number_of_trials_shows_that_all_are_kept() -> None:
    assert fewest_to_show(1.0) is None
    assert wilson(1.0, 10**6)[0] < 1
