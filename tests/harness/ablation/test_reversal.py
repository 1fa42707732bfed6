"""A mean of opposites is called one."""

from __future__ import annotations

from llmbench.harness.ablation.effects import EffectEstimate
from llmbench.harness.ablation.reversal import Reversal, reversal

FALLS, RISES = EffectEstimate(0.8, 0.7, 0.9), EffectEstimate(1.3, 1.2, 1.4)
UNSURE = EffectEstimate(1.3, 0.9, 1.8)


def test_opposites_at_two_levels_of_one_axis() -> None:
    known = [("kv", "paged", RISES), ("kv", "contiguous", FALLS), ("quant", "none", FALLS)]
    assert reversal(known, "ratio") == Reversal("kv", "contiguous", FALLS, "paged", RISES)


def test_levels_of_two_axes_are_no_opposites() -> None:
    assert reversal([("kv", "paged", RISES), ("quant", "none", FALLS)], "ratio") is None


def test_what_may_be_none_is_no_opposite() -> None:
    assert reversal([("kv", "paged", UNSURE), ("kv", "contiguous", FALLS)], "ratio") is None
    exact = EffectEstimate(1.3)
    assert reversal([("kv", "paged", exact), ("kv", "contiguous", FALLS)], "ratio") is None


def test_differences_turn_at_zero_and_the_widest_is_told() -> None:
    down, up = EffectEstimate(-0.2, -0.3, -0.1), EffectEstimate(0.1, 0.05, 0.2)
    most = EffectEstimate(0.5, 0.4, 0.6)
    known = [("a", 1, down), ("a", 2, up), ("b", 1, down), ("b", 2, most)]
    assert reversal(known, "difference") == Reversal("b", 1, down, 2, most)
