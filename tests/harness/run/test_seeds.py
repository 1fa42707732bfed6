"""One derivation of seeds for everything that repeats runs."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.run.seeds import seed_of_repeat
from llmbench.harness.sweep.grid import grid


def test_the_first_repeat_is_the_run_itself() -> None:
    assert seed_of_repeat(7, 1) == 7


def test_the_others_are_numpys_streams_and_differ() -> None:
    (second,) = np.random.SeedSequence([7, 2]).generate_state(1)
    assert seed_of_repeat(7, 2) == second
    drawn = {seed_of_repeat(seed, repeat) for seed in (0, 1) for repeat in range(1, 50)}
    assert len(drawn) == 98


def test_a_sweep_has_the_same() -> None:
    cells = grid([], repeats=3, seed=5)
    assert [one.seed for one in cells] == [None, seed_of_repeat(5, 2), seed_of_repeat(5, 3)]


def test_repeats_count_from_one() -> None:
    with pytest.raises(ValueError, match="repeat 0"):
        seed_of_repeat(0, 0)
