"""Every two methods beside each other: what a frontier and claims about two of them go by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ...reports.frontier_model import KL, PERPLEXITY, THROUGHPUT, MethodPair
from ...reports.model import Ratio
from ..comparison.compare import row_of
from ..comparison.evidence import ERROR_RATE, examine, has_interval
from ..comparison.observed import Observed
from ..comparison.quantities import QUANTITIES, Quantity

_QUANTITIES = tuple(QUANTITIES[name] for name in (THROUGHPUT, KL, PERPLEXITY))


def pairs_of(runs: Sequence[Observed]) -> tuple[MethodPair, ...]:
    """Each run against each later one, by the runs' names; what either lacks is left out. All
    intervals hold together at 95 % (Bonferroni), for a sentence about a frontier is about all."""
    pairs = tuple(combinations(runs, 2))
    unsure = sum(
        has_interval(quantity, (one.stored.result, other.stored.result))
        for one, other in pairs
        for quantity in _of_both(one, other)
    )
    confidence = 1 - ERROR_RATE / max(unsure, 1)
    return tuple(
        MethodPair(one.name, other.name, _ratios(one, other, confidence)) for one, other in pairs
    )


def _of_both(one: Observed, other: Observed) -> list[Quantity]:
    results = (one.stored.result, other.stored.result)
    return [each for each in _QUANTITIES if all(each.value(run) is not None for run in results)]


def _ratios(one: Observed, other: Observed, confidence: float) -> dict[str, Ratio]:
    found: dict[str, Ratio] = {}
    for quantity in _of_both(one, other):
        row = row_of(quantity, [examine(one, other, quantity, confidence=confidence)])
        ratio = row.ratios[1]
        if ratio is not None:
            found[quantity.name] = ratio
    return found
