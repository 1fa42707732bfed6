"""Which methods are no choice: another is no worse in anything, and better in something.

A method that is left out may have been the one to choose, so nothing is left out for want of
evidence: what an interval does not decide is neither no worse nor better, and nor is the speed of
an emulated method, which is not its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...reports.frontier_model import KL, THROUGHPUT, FrontierMethod, MethodPair, between
from ...reports.model import Verdict


def dominated_by(
    method: FrontierMethod, methods: Sequence[FrontierMethod], pairs: Sequence[MethodPair]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of those that dominate `method`, of the methods that count; and of those of which
    it is not decided."""
    others = [one for one in methods if one.name != method.name and one.counts]
    found = {one.name: dominates(one, method, pairs) for one in others}
    return (
        tuple(name for name, held in found.items() if held),
        tuple(name for name, held in found.items() if held is None),
    )


def dominates(
    one: FrontierMethod, other: FrontierMethod, pairs: Sequence[MethodPair]
) -> bool | None:
    """Pareto dominance over KL on text, weight bytes and tokens a second; None where the verdicts
    of the two runs' ratios leave it open. What either lacks decides nothing."""
    ratios = between(pairs, one.name, other.name)
    kl, speed = ratios.get(KL), ratios.get(THROUGHPUT)
    emulated = one.emulated or other.emulated
    verdicts: list[Verdict | None] = [
        _of_numbers(one.weight_bytes, other.weight_bytes),
        _itself(one, other) if kl is None else kl.verdict,
        None if speed is None else "inconclusive" if emulated else speed.verdict,
    ]
    if "worse" in verdicts:
        return False
    return None if "inconclusive" in verdicts else "better" in verdicts


def _itself(one: FrontierMethod, other: FrontierMethod) -> Verdict | None:
    """Of the unquantised model, whose distance to itself is 0 and has no ratio."""
    if 0.0 not in (one.text_kl_mean, other.text_kl_mean):
        return None
    return _of_numbers(one.text_kl_mean, other.text_kl_mean)


def _of_numbers(one: float | None, other: float | None) -> Verdict | None:
    """Of what repeats exactly, and is better if it is less."""
    if one is None or other is None:
        return None
    return "same" if one == other else "better" if one < other else "worse"
