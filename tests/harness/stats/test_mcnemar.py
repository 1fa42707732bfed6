"""McNemar's exact test against scipy's binomial test."""

from __future__ import annotations

import pytest
from llmbench.harness.stats.mcnemar import mcnemar
from scipy.stats import binomtest


@pytest.mark.parametrize(("first", "second"), [(1, 0), (5, 0), (0, 6), (7, 2), (12, 12), (40, 71)])
def test_scipy_agrees(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_nothing_apart_is_no_difference() -> None:
    assert mcnemar(0, 0) == 1.0
