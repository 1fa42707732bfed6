"""Effects of a factorial whose answers are in the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.ablation.contrasts import Contrast, contrasts
from llmbench.harness.ablation.design import Axis, Design

# Box, Hunter and Hunter, "Statistics for Experimenters", the pilot plant: yield in grams by
# temperature (160, 180), concentration (20, 40) and catalyst (A, B), in standard order:
# temperature varies fastest. Two runs of each; their means are the book's table.
PILOT_PLANT = Design(
    (Axis("catalyst", ("A", "B")), Axis("concentration", (20, 40)), Axis("temperature", (160, 180)))
)
FIRST_RUN = np.array([59.0, 74, 50, 69, 50, 81, 46, 79])
SECOND_RUN = np.array([61.0, 70, 58, 67, 54, 85, 44, 81])
MEANS = np.array([60.0, 72, 54, 68, 52, 83, 45, 80])
# The book's effects; an interaction there is half of the difference that is reported here.
MAIN = {"temperature": 23.0, "concentration": -5.0, "catalyst": 1.5}
HALF_INTERACTIONS = {
    frozenset({"temperature", "concentration"}): 1.5,
    frozenset({"temperature", "catalyst"}): 10.0,
    frozenset({"concentration", "catalyst"}): 0.0,
}


def _value(contrast: Contrast, values: np.ndarray) -> float:
    return float(contrast.weights @ values)


def test_the_pilot_plant() -> None:
    assert ((FIRST_RUN + SECOND_RUN) / 2 == MEANS).all()
    found = contrasts(PILOT_PLANT, PILOT_PLANT.cells)

    mains = {one.changes[0].axis: _value(one, MEANS) for one in found if one.is_main}
    assert mains == pytest.approx(MAIN)
    halves = {
        frozenset(change.axis for change in one.changes): _value(one, MEANS) / 2
        for one in found
        if not one.is_main
    }
    assert halves == pytest.approx(HALF_INTERACTIONS)


def test_more_levels_are_each_compared_with_the_base() -> None:
    """Means over the other axis: 10, 14, 25; the third level gains 6 more under y than under x."""
    design = Design((Axis("a", ("one", "two", "three")), Axis("b", ("x", "y"))))
    values = np.array([9.0, 11, 13, 15, 21, 29])

    found = {
        tuple(change.level for change in one.changes): _value(one, values)
        for one in contrasts(design, design.cells)
    }

    assert found == pytest.approx(
        {("two",): 4.0, ("three",): 15.0, ("y",): 4.0, ("two", "y"): 0.0, ("three", "y"): 6.0}
    )


def test_a_missing_cell_takes_only_its_own_comparisons() -> None:
    """Without (two, y), `a` is compared under x alone, `b` under one and three alone."""
    design = Design((Axis("a", ("one", "two", "three")), Axis("b", ("x", "y"))))
    there = [cell for cell in design.cells if cell.overrides != {"a": "two", "b": "y"}]
    values = np.array([9.0, 11, 13, 1e9, 21, 29])

    found = {
        tuple(change.level for change in one.changes): _value(one, values)
        for one in contrasts(design, there)
    }

    # b: (2 + 8) / 2; the interaction of two and y has no cell left.
    assert found == pytest.approx(
        {("two",): 4.0, ("three",): 15.0, ("y",): 5.0, ("three", "y"): 6.0}
    )


def test_cells_that_share_nothing_show_nothing() -> None:
    design = Design((Axis("a", ("one", "two")), Axis("b", ("x", "y"))))
    assert contrasts(design, [design.cells[0], design.cells[3]]) == ()
