"""How far a number moves from one run to the next, and what that leaves of a difference.

Requests of one run share a machine's hour, so no resampling of them shows what another run would
give; only runs do. Each run counts as one value and the interval is Student's t over runs
(Georges, Buytaert and Eeckhout, "Statistically rigorous Java performance evaluation", OOPSLA 2007).
Runs of the same requests on both sides are pairs: t over their differences (Student, "The probable
error of a mean", Biometrika 6, 1908). Runs that are not paired: Welch, Biometrika 34 (1947), with
Satterthwaite's degrees of freedom rounded down, which can only widen the interval. A ratio is a
difference of logarithms (Bland and Altman, BMJ 312:1079, 1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bootstrap import CONFIDENCE, Estimate
from .student import quantile

Values = Sequence[float] | NDArray[np.float64]

FEWEST_RUNS = 2
# What is left of equal values is rounding, not spread.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Spread:
    """Of one value a run. std divides by runs - 1. low, high: the interval of the mean."""

    runs: int
    mean: float
    std: float
    low: float
    high: float


def reach(runs: int, confidence: float = CONFIDENCE) -> float:
    """Half the interval of a mean, in standard deviations between runs: 8.98 for two runs, 2.48
    for three, 0.72 for ten."""
    return quantile(confidence, runs - 1) / math.sqrt(runs)


def spread(values: Values, confidence: float = CONFIDENCE) -> Spread:
    """Mean, spread and interval. Raises ValueError for fewer than two runs."""
    _check(values)
    data = np.asarray(values, dtype=np.float64)
    mean, std = float(data.mean()), _std(data)
    half = reach(len(data), confidence) * std
    return Spread(len(data), mean, std, mean - half, mean + half)


def of_pairs(
    baseline: Values, current: Values, confidence: float = CONFIDENCE, *, least_std: float = 0.0
) -> Estimate:
    """current - baseline, pair by pair. least_std: that a value is known to have, however alike a
    few of them are. Raises ValueError for fewer than two pairs."""
    _check(baseline)
    differences = np.subtract(current, baseline)
    value, std = float(differences.mean()), max(_std(differences), math.sqrt(2) * least_std)
    half = reach(len(differences), confidence) * std
    return Estimate(value, value - half, value + half)


def of_groups(
    baseline: Values, current: Values, confidence: float = CONFIDENCE, *, least_std: float = 0.0
) -> Estimate:
    """The difference of the means of runs that are not paired, at least two on each side.
    least_std: as of pairs."""
    _check(baseline)
    _check(current)
    sides = [np.asarray(values, dtype=np.float64) for values in (baseline, current)]
    value = float(sides[1].mean() - sides[0].mean())
    errors = [max(_std(side), least_std) ** 2 / len(side) for side in sides]
    variance = sum(errors)
    if variance == 0:
        return Estimate(value, value, value)
    parts = (error**2 / (len(side) - 1) for error, side in zip(errors, sides, strict=True))
    df = max(1, math.floor(variance**2 / sum(parts) + _ROUNDING))
    half = quantile(confidence, df) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)


def _std(data: NDArray[np.float64]) -> float:
    std = float(data.std(ddof=1))
    return std if std > _ROUNDING * float(np.abs(data).max()) else 0.0


def _check(values: Values) -> None:
    if len(values) < FEWEST_RUNS:
        raise ValueError(f"{len(values)} runs have no spread; at least {FEWEST_RUNS}")
