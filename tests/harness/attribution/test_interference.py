"""Model time of mixed steps told apart, on numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.attribution.interference import FEWEST_STEPS, tell_apart


def test_steps_of_one_phase_are_its_own() -> None:
    told = tell_apart(np.array([8, 0, 0]), np.array([0, 3, 0]), np.array([0.1, 0.1, 0.0]))

    assert told.decode_share[:2].tolist() == [0.0, 1.0]
    assert not told.mixed.any()


def test_only_steps_of_similar_width_are_evidence() -> None:
    """Decode-only: eight of 4 tokens that take 10 ms, eight of 16 that take 40. A mixed step of 5
    decodes (5 / 1.25 = 4) and one of 16 have evidence, one of 8 has none: 4 and 16 lie outside 6.4
    to 10."""
    prefill = np.array([0] * 16 + [90, 90, 92])
    decode = np.array([4] * 8 + [16] * 8 + [5, 16, 8])
    model_s = np.array([0.01] * 8 + [0.04] * 8 + [0.05, 0.05, 0.05])
    told = tell_apart(prefill, decode, model_s)

    assert told.by_evidence.tolist() == [False] * 16 + [True, True, False]
    assert told.decode_share[16:].tolist() == pytest.approx([0.01 / 0.05, 0.04 / 0.05, 8 / 100])


def test_the_typical_step_is_the_median_and_one_stall_does_not_move_it() -> None:
    model_s = np.array([0.01] * 7 + [0.012, 5.0, 0.04])
    told = tell_apart(np.array([0] * 9 + [16]), np.array([2] * 10), model_s)

    assert told.decode_share[9] == pytest.approx(0.01 / 0.04)


def test_too_few_steps_are_no_evidence() -> None:
    few = FEWEST_STEPS - 1
    prefill, decode = np.array([0] * few + [6]), np.array([2] * (few + 1))
    told = tell_apart(prefill, decode, np.array([0.01] * few + [0.04]))

    assert not told.by_evidence.any()
    assert told.decode_share[few] == pytest.approx(2 / 8)


def test_a_mixed_step_faster_than_its_decodes_alone_cost_its_prefill_nothing() -> None:
    told = tell_apart(np.array([0] * 8 + [1]), np.array([2] * 9), np.array([0.01] * 8 + [0.009]))

    assert told.decode_share[8] == 1.0
