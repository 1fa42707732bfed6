"""The fast tail percentile against numpy's on the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.bootstrap import Sample, draw_blocks
from llmbench.harness.stats.tail import tail_percentile


@pytest.mark.parametrize("q", [90.0, 95.0, 99.0, 99.9])
@pytest.mark.parametrize("units", [1, 3, 40, 300])
def test_it_is_the_percentile_of_the_repeated_values(q: float, units: int) -> None:
    rng = np.random.default_rng(int(q * units))
    of = np.repeat(np.arange(units), rng.integers(1, 30, units))
    # Rounded, so that values tie; a heavy tail, so that few units hold it.
    sample = Sample(rng.pareto(1.5, len(of)).round(1), of, units).ascending()
    times = draw_blocks(units, 2, 25, rng)

    found = tail_percentile(sample, times, q)

    expected = [np.percentile(np.repeat(sample.values, row[sample.units]), q) for row in times]
    assert found == pytest.approx(expected)


def test_a_tail_of_units_that_were_not_drawn_is_passed_over() -> None:
    """All of the largest values are of one request; a draw without it must look further down."""
    values = np.concatenate((np.full(900, 100.0), np.arange(100.0)))
    units = np.concatenate((np.zeros(900, dtype=np.int64), np.ones(100, dtype=np.int64)))
    sample = Sample(values, units, 2).ascending()
    times = np.array([[0, 2], [2, 0], [1, 1]], dtype=np.int32)

    found = tail_percentile(sample, times, 95)

    assert found[0] == pytest.approx(np.percentile(np.repeat(np.arange(100.0), 2), 95))
    assert list(found[1:]) == [100.0, 100.0]


def test_no_values_have_no_percentile() -> None:
    sample = Sample(np.array([1.0, 2.0]), np.array([0, 0]), 2).ascending()
    assert np.isnan(tail_percentile(sample, np.array([[0, 2]], dtype=np.int32), 99)).all()
