from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.attribution.layout import AFTER, BEFORE, MODEL, PHASES, SAMPLE, SWAP, lay_out


def test_every_phase_of_a_step_has_one_place() -> None:
    """A phase that has none would be residual without anyone's saying so."""
    placed = (*BEFORE, *SWAP, *MODEL, *SAMPLE, *AFTER)

    assert set(PHASES) <= set(placed)
    assert len(set(placed)) == len(placed)


def test_phases_follow_each_other_in_their_order() -> None:
    """1 schedule, 2 prepare, 4 swap, 8 + 16 + 32 model, 64 sample, 128 host: from 1000 to 1255."""
    names = (*BEFORE, *SWAP, *MODEL, *SAMPLE, *AFTER)
    phases = {name: np.array([2.0**power]) for power, name in enumerate(names)}
    found = lay_out(np.array([1000.0]), np.array([1255.0]), phases)

    assert found.swap_s - found.start_s == 3
    assert found.model_s - found.swap_s == 4
    assert found.model_time_s == 8 + 16 + 32
    assert found.done_s - found.after_s == 64 + 128
    assert found.end_s == found.done_s == 1255


def test_phases_that_say_more_than_their_step_end_with_it() -> None:
    phases = {name: np.array([1.0]) for name in PHASES}
    found = lay_out(np.array([0.0]), np.array([3.5]), phases)

    assert found.done_s == found.end_s == pytest.approx(3.5)
    assert found.after_s - found.model_s == pytest.approx(0.5)
