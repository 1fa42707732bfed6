"""Which methods are no choice: another is no worse in anything, and better in something."""

from __future__ import annotations

from collections.abc import Sequence

from ...reports.frontier_model import FrontierMethod
from ..compare import SAME


def dominated_by(method: FrontierMethod, methods: Sequence[FrontierMethod]) -> tuple[str, ...]:
    """The names of those that dominate `method`, of the methods that count."""
    return tuple(
        other.name
        for other in methods
        if other.name != method.name and other.counts and dominates(other, method)
    )


def dominates(one: FrontierMethod, other: FrontierMethod) -> bool:
    """Pareto dominance over KL on text, weight bytes and tokens a second. Quality and bytes repeat
    exactly; speeds within 2 % of each other are the same. What either lacks decides nothing."""
    signs = (
        _sign(one.text_kl_mean, other.text_kl_mean),
        _sign(one.weight_bytes, other.weight_bytes),
        -_sign(one.output_tokens_per_s, other.output_tokens_per_s, SAME),
    )
    return all(sign <= 0 for sign in signs) and any(sign < 0 for sign in signs)


def _sign(one: float | None, other: float | None, same: float = 0.0) -> int:
    """-1: one is less, 1: more, 0: the same, or one of them is not known."""
    if one is None or other is None or abs(one - other) <= same * max(abs(one), abs(other)):
        return 0
    return -1 if one < other else 1
