"""Student's t against a printed table."""

from __future__ import annotations

import pytest
from llmbench.harness.stats.student import quantile, two_sided_p


# Percentage points of t, as every textbook prints them (Biometrika Tables, table 12).
@pytest.mark.parametrize(
    ("df", "at_95", "at_99"),
    [
        (1, 12.706, 63.657),
        (2, 4.303, 9.925),
        (3, 3.182, 5.841),
        (7, 2.365, 3.499),
        (10, 2.228, 3.169),
        (30, 2.042, 2.750),
        (120, 1.980, 2.617),
    ],
)
def test_the_table(df: int, at_95: float, at_99: float) -> None:
    assert quantile(0.95, df) == pytest.approx(at_95, abs=5e-4)
    assert quantile(0.99, df) == pytest.approx(at_99, abs=5e-4)
    assert two_sided_p(at_95, df) == pytest.approx(0.05, abs=5e-5)


def test_one_degree_of_freedom_is_cauchys() -> None:
    """P(|T| >= 1) = 1/2, for atan(1) is a quarter of a half-turn."""
    assert two_sided_p(1.0, 1) == pytest.approx(0.5)
    assert two_sided_p(-1.0, 1) == two_sided_p(1.0, 1)
    assert two_sided_p(0.0, 4) == 1.0


def test_no_degree_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        two_sided_p(1.0, 0)
    with pytest.raises(ValueError, match="a confidence of 1"):
        quantile(1.0, 3)
