"""When a comparison may stop early: looks at growing evidence whose errors sum to what was asked.

Every look spends some of the error rate, as a function of the share of the evidence that is in
(Lan and DeMets, Biometrika 70, 1983; the function is the one they give for Pocock's boundary). The
level of each look follows from the joint distribution of the looks, integrated look by look
(Armitage, McPherson and Rowe, Journal of the Royal Statistical Society A 132, 1969). An interval at
a look's level is a repeated confidence interval: it holds at whichever look one stops (Jennison and
Turnbull, Journal of the Royal Statistical Society B 51, 1989).

Pocock's boundary spends early: most comparisons are clear, and end at their first look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
_CELLS = 801


@dataclass(frozen=True)
class Look:
    """after: how many differences are in. level: of the interval at this look, two-sided."""

    after: int
    level: float


def pocock_spending(share: float, error_rate: float) -> float:
    """What may be spent of the error rate once that share of the evidence is in."""
    return error_rate * math.log(1 + (math.e - 1) * min(share, 1.0))


def looks(
    after: Sequence[int], error_rate: float, *, whole: int | None = None, final: bool = True
) -> tuple[Look, ...]:
    """The levels of the looks of one comparison, up to the last of `after` (rising).

    whole: how many differences there are at most; None: the last of `after`. final: nothing comes
    after the last look, so it spends what is left, however early it is: a time limit may end a
    comparison, for it does not depend on which side is ahead. A single final look has the error
    rate itself as its level.
    """
    shares = tuple(count / (whole or after[-1]) for count in after)
    levels = _levels(shares, error_rate, final)
    return tuple(Look(count, level) for count, level in zip(after, levels, strict=True))


def schedule(whole: int, error_rate: float, count: int) -> tuple[int, ...]:
    """After how many differences to look, `count` times at most: first when something can be
    decided, then evenly up to all of them."""
    if count == 1:
        return (whole,)
    first = first_look(whole, error_rate)
    gap = (whole - first) / (count - 1)
    return tuple(sorted({round(first + look * gap) for look in range(count)}))


def first_look(whole: int, error_rate: float) -> int:
    """The fewest differences after which so many signs that agree are significant at the level
    that a first look then has."""
    count = 1
    while count < whole and 2 * 0.5**count > pocock_spending(count / whole, error_rate):
        count += 1
    return count


@lru_cache(maxsize=256)
def _levels(shares: tuple[float, ...], error_rate: float, final: bool) -> tuple[float, ...]:
    """Nominal two-sided levels, from the density of the score among those who went on.

    The score at share t is Brownian motion, B(t) ~ N(0, t); it leaves at |B| >= z sqrt(t).
    """
    spent = [pocock_spending(share, error_rate) for share in shares]
    if final:
        spent[-1] = error_rate
    levels = [spent[0]]
    bound = _bound(levels[0]) * math.sqrt(shares[0])
    points = _points(bound)
    density = _normal(points, shares[0])
    for k in range(1, len(shares)):
        step = shares[k] - shares[k - 1]
        weights = density * _simpson(points)
        bound = _leaving(points, weights, step, spent[k] - spent[k - 1])
        levels.append(2 * (1 - _NORMAL.cdf(bound / math.sqrt(shares[k]))))
        there = _points(bound)
        density = _normal(there[:, None] - points[None, :], step) @ weights
        points = there
    return tuple(levels)


def _leaving(points: np.ndarray, weights: np.ndarray, step: float, chance: float) -> float:
    """The bound that the score passes, either way, with that chance."""
    from scipy.special import ndtr

    low, high = 0.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        beyond = ndtr((points - middle) / math.sqrt(step)) + ndtr(
            (-points - middle) / math.sqrt(step)
        )
        low, high = (middle, high) if float(weights @ beyond) > chance else (low, middle)
    return (low + high) / 2


def _bound(level: float) -> float:
    return _NORMAL.inv_cdf(1 - level / 2)


def _points(bound: float) -> np.ndarray:
    return np.linspace(-bound, bound, _CELLS)


def _normal(x: np.ndarray, variance: float) -> np.ndarray:
    return np.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def _simpson(points: np.ndarray) -> np.ndarray:
    """Simpson's weights."""
    weights = np.where(np.arange(len(points)) % 2, 4.0, 2.0)
    weights[0] = weights[-1] = 1.0
    return weights * (points[1] - points[0]) / 3
