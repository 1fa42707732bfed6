"""Holm's step-down correction: how many differences may be called at once.

Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
Statistics 6 (1979). It holds however the tests depend on each other, and rejects all that
Bonferroni's rule does.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values, in the order given: reject those of at most the family's error rate.

    The i-th smallest of m is multiplied by m - i + 1; none may be below one before it, nor above 1.
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for rank, at in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = reached
    return tuple(adjusted)
