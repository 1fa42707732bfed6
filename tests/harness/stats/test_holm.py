"""Holm's correction against values worked by hand and published ones."""

from __future__ import annotations

import pytest
from llmbench.harness.stats.holm import holm


def test_each_is_multiplied_by_how_many_are_left() -> None:
    # Smallest first: 0.005 x 4, 0.01 x 3, 0.03 x 2; 0.04 x 1 may not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_published_example() -> None:
    """The example of `Holm` in the R package HDLSSkST: at 0.05 the third and the last fall."""
    adjusted = holm([0.50, 0.01, 0.001, 0.69, 0.02, 0.05, 0.0025])
    assert [p < 0.05 for p in adjusted] == [False, False, True, False, False, False, True]


def test_none_exceeds_one_and_order_is_kept() -> None:
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
    assert holm([0.2]) == (0.2,)
