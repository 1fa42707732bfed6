"""Which of several runs is beyond doubt the best in something."""

from __future__ import annotations

from .comparison_headline import DECIDED
from .model import Comparison, MetricComparison

# Values without an interval that lie within this of each other are the same, as verdicts have it;
# but a count is what it is.
_SAME = 0.02
_COUNTS = ("counters", "memory")


def clearly_best(row: MetricComparison, comparison: Comparison) -> int | None:
    """The run whose ratio to the baseline lies beyond all others' intervals; None if there is none.

    It is better than the baseline, or the baseline and the others are worse. The intervals of a
    comparison hold together, so where two have nothing in common the runs differ, unless too little
    is known of one. Nor is a run the best of several of which some say nothing.
    """
    if None in row.values:
        return None
    base = comparison.runs.index(comparison.baseline)
    spans: dict[int, tuple[float, float]] = {base: (1.0, 1.0)}
    for at, ratio in enumerate(row.ratios):
        if at == base:
            continue
        if ratio is None or ratio.too_little:
            return None
        if ratio.low is not None and ratio.high is not None:
            spans[at] = (ratio.low, ratio.high)
        elif ratio.verdict in DECIDED or ratio.verdict == "same":
            spans[at] = (ratio.value, ratio.value)  # a count, or what steps did in virtual time
        else:
            return None
    if row.better == "higher":
        spans = {at: (-high, -low) for at, (low, high) in spans.items()}
    best = min(spans, key=lambda at: spans[at][1])
    others = [span for at, span in spans.items() if at != best]
    end = spans[best][1]
    exact = all(low == high for low, high in spans.values())
    room = _SAME * abs(end) if exact and row.id not in _COUNTS else 0.0
    if not others or any(low <= end + room for low, _ in others):
        return None
    judged = [row.ratios[best]] if best != base else [row.ratios[at] for at in spans if at != base]
    wanted = "better" if best != base else "worse"
    return best if all(one is not None and one.verdict == wanted for one in judged) else None
