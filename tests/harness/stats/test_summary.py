"""The nine numbers, worked by hand."""

from __future__ import annotations

import pytest
from llmbench.harness.stats.summary import summary


def test_one_to_five() -> None:
    found = summary([5.0, 1.0, 4.0, 2.0, 3.0])

    assert tuple(found) == ("count", "mean", "std", "min", "p50", "p90", "p95", "p99", "max")
    assert found == pytest.approx(
        {
            "count": 5,
            "mean": 3,
            "std": 2**0.5,  # (4 + 1 + 0 + 1 + 4) / 5 = 2
            "min": 1,
            "p50": 3,
            "p90": 4.6,
            "p95": 4.8,
            "p99": 4.96,
            "max": 5,
        }
    )


def test_weights_change_the_mean_and_not_the_percentiles() -> None:
    found = summary([10.0, 20.0], weights=[3.0, 1.0])

    assert found["mean"] == pytest.approx(12.5)
    assert found["std"] == pytest.approx((0.75 * 2.5**2 + 0.25 * 7.5**2) ** 0.5)
    assert found["p50"] == pytest.approx(15.0)


def test_steps_of_no_duration_weigh_alike() -> None:
    assert summary([10.0, 20.0], weights=[0.0, 0.0])["mean"] == pytest.approx(15.0)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="no values"):
        summary([])
