"""One derivation of seeds for everything that repeats runs."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.run.seeds import check_repeats, seed_of_repeat
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


@pytest.mark.parametrize("repeats", [-1, 0, 10_001, 10**400])
def test_no_repeat_and_more_than_anyone_waits_for_are_refused(repeats: int) -> None:
    """Known wrong here: 10^400 of them, which were planned one by one."""
    with pytest.raises(ConfigError, match=r"^repeats: .* expected 1 or more, at most 10,000$"):
        check_repeats(repeats)


def test_repeats_count_from_one() -> None:
    with pytest.raises(ValueError, match="repeat 0"):
        seed_of_repeat(0, 0)
