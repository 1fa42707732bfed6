"""Every two methods beside each other: what a frontier and claims about methods go by.

What a sentence is made of holds together at 95 % (Bonferroni): speed and KL of every two, for each
may dominate the other, and the perplexities that claims are about. No sentence is made of another
two's perplexities, so their interval holds by itself only, and takes no width from the others.
Resampling the text for all pairs at once would follow how they depend on each other, and make these
intervals some 3 % narrower (`tests/evidence/text_quality.py`): not worth a second method.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ...reports.frontier_model import KL, PERPLEXITY, THROUGHPUT, MethodPair
from ...reports.model import Ratio
from ..comparison.compare import row_of
from ..comparison.evidence import ERROR_RATE, examine, has_interval
from ..comparison.observed import Observed
from ..comparison.quantities import QUANTITIES, Quantity
from ..stats.bootstrap import CONFIDENCE
from .methods import RIVALS

_QUANTITIES = tuple(QUANTITIES[name] for name in (THROUGHPUT, KL, PERPLEXITY))
_Two = tuple[Observed, Observed]


def method_pairs(runs: Sequence[Observed], baseline: str) -> tuple[MethodPair, ...]:
    """Each run against each later one, by the runs' names; what either lacks is left out."""
    pairs = tuple(combinations(runs, 2))
    together = sum(
        has_interval(quantity, [run.stored.result for run in pair])
        for pair in pairs
        for quantity in _of_both(pair)
        if _is_asked(quantity, pair, baseline)
    )
    confidence = 1 - ERROR_RATE / max(together, 1)
    return tuple(
        MethodPair(pair[0].name, pair[1].name, _ratios(pair, baseline, confidence))
        for pair in pairs
    )


def _is_asked(quantity: Quantity, pair: _Two, baseline: str) -> bool:
    """Whether a sentence about the frontier, a method or a claim goes by it."""
    names = {run.name for run in pair}
    return quantity.name != PERPLEXITY or baseline in names or names == set(RIVALS)


def _of_both(pair: _Two) -> list[Quantity]:
    results = [run.stored.result for run in pair]
    return [each for each in _QUANTITIES if all(each.value(run) is not None for run in results)]


def _ratios(pair: _Two, baseline: str, confidence: float) -> dict[str, Ratio]:
    found: dict[str, Ratio] = {}
    for quantity in _of_both(pair):
        alone = not _is_asked(quantity, pair, baseline)
        finding = examine(*pair, quantity, confidence=CONFIDENCE if alone else confidence)
        ratio = row_of(quantity, [finding], (), alone=alone).ratios[1]
        if ratio is not None:
            found[quantity.name] = ratio
    return found
