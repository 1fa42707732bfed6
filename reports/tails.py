"""How high a percentile so many samples support: what it takes to show one, and to compare it.

The checks of a run, the verdicts of a comparison and the reports go by these numbers, and by no
others.
"""

from __future__ import annotations

import math

# What results hold, the highest first.
PERCENTILES = (99, 95, 90)


def samples_needed(q: float) -> int:
    """How many samples a percentile must have for one of them to lie beyond it: 100 for p99.

    With fewer, the number is an interpolation towards the maximum, and says little of the tail.
    """
    tail = min(q, 100 - q) / 100
    return math.ceil(round(1 / tail, 9)) if tail > 0 else 1


def samples_for_interval(q: float) -> int:
    """How many samples a percentile must have for a 95 % interval: 299 for p99, 59 for p95, 5 for
    p50.

    With fewer, all of them lie on one side of the true percentile too often, and no resampling can
    show what was never drawn. Source: Wilks, Annals of Mathematical Statistics 12 (1941).
    """
    inside = max(q, 100 - q) / 100
    return math.ceil(math.log(1 - 0.95) / math.log(inside))


def highest_percentile(samples: int) -> int | None:
    """The highest that so many can show; None if that is the median alone."""
    return next((q for q in PERCENTILES if samples >= samples_needed(q)), None)


def not_carried(samples: int) -> frozenset[str]:
    """The percentiles, as statistics are called, that so many are too few to show: "p99"."""
    return frozenset(f"p{q}" for q in PERCENTILES if samples < samples_needed(q))
