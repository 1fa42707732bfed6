"""The largest request rate that holds an SLO: bracketed by growing factors, then bisected.

Pure search over a function from rate to attainment, the share of requests that kept every limit
(DistServe, OSDI 2024, calls the rate found here goodput). The function must serve the same requests
in the same order at every rate, so that only gaps change and attainments can be compared. Queues
make attainment fall as the rate rises, but nothing guarantees it: an engine that computes all
prompts before it decodes has the smoothest decodes when everything arrives at once. So rates around
the answer are tried, too, and whatever contradicts it is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...engines.errors import ConfigError
from ..stats.proportion import wilson

# A request in 17 minutes meets no other; a million in a second arrive at once.
LOWEST_RATE_PER_S = 1e-3
HIGHEST_RATE_PER_S = 1e6
PROBES = (0.8, 0.9, 1.1, 1.25)
Outcome = Literal["found", "never", "always"]


@dataclass(frozen=True)
class Tried:
    """attained: share of the requests that kept the SLO at a rate; rate inf: all at once."""

    rate_per_s: float
    attained: float


@dataclass(frozen=True)
class Search:
    """What was found. trials: every rate that was tried, ascending.

    found: `holds` is the largest rate of the bracket that holds, `fails` the one just above it that
    does not. never: not even the lowest rate holds; that is `fails`. always: all at once holds;
    that is `holds`.
    """

    outcome: Outcome
    target: float
    holds: Tried | None
    fails: Tried | None
    trials: tuple[Tried, ...]

    @property
    def exceptions(self) -> tuple[Tried, ...]:
        """Trials that contradict a single threshold: a lower rate that fails, a higher that
        holds."""
        low = self.holds.rate_per_s if self.holds else 0.0
        high = self.fails.rate_per_s if self.fails else math.inf
        return tuple(
            trial
            for trial in self.trials
            if (trial.rate_per_s < low and trial.attained < self.target)
            or (trial.rate_per_s > high and trial.attained >= self.target)
        )

    def interval_per_s(self, effective: float) -> tuple[float, float]:
        """Rates between which the capacity for requests like these lies: the largest that was tried
        and at which surely `target` of them keep the SLO, or 0, and the lowest at which surely
        fewer do, or inf.

        effective: independent requests that would tell as much as those behind each share, more
        than none. Surely: by the 95 % interval of the share (`stats/proportion.py`).
        """
        low = self.holds.rate_per_s if self.holds else 0.0
        high = self.fails.rate_per_s if self.fails else math.inf
        shares = {trial.rate_per_s: wilson(trial.attained, effective) for trial in self.trials}
        below = [at for at, (least, _) in shares.items() if at <= low and least >= self.target]
        above = [at for at, (_, most) in shares.items() if at >= high and most < self.target]
        return max(below, default=0.0), min(above, default=math.inf)


def find_capacity(
    attained: Callable[[float], float],
    *,
    target: float = 0.99,
    tolerance: float = 0.02,
    start_per_s: float = 1.0,
    lowest_per_s: float = LOWEST_RATE_PER_S,
) -> Search:
    """Search from `start_per_s` up and down.

    attained: requests a second to a share; called with inf, too, and once a rate.
    tolerance: how far apart, as a share, the two rates of the bracket may be.
    Raises ConfigError as `check_search` does.
    """
    check_search(target, tolerance)
    ladder = _Ladder(attained, target)
    holds, fails = _bracket(ladder, start_per_s, lowest_per_s)
    if holds is None or fails is None:
        return Search("never" if holds is None else "always", target, holds, fails, ladder.tried())
    while fails.rate_per_s > holds.rate_per_s * (1 + tolerance):
        middle = _between(holds.rate_per_s, fails.rate_per_s)
        if middle is None:
            break
        trial = ladder.at(middle)
        if ladder.kept(trial):
            holds = trial
        else:
            fails = trial
    for factor in PROBES:
        beside = holds if factor < 1 else fails
        if math.isfinite(beside.rate_per_s):
            ladder.at(beside.rate_per_s * factor)
    return Search("found", target, holds, fails, ladder.tried())


def check_search(target: float, tolerance: float) -> None:
    """Raises ConfigError for an attainment or a tolerance that is no share."""
    if not 0 < target <= 1:
        raise ConfigError("attainment", target, "a share of the requests: more than 0, at most 1")
    if not 0 < tolerance < 1:
        raise ConfigError("rate_tolerance", tolerance, "more than 0 and less than 1, such as 2%")


class _Ladder:
    """Rates that were tried, each once."""

    def __init__(self, attained: Callable[[float], float], target: float) -> None:
        self._attained = attained
        self._target = target
        self._trials: dict[float, Tried] = {}

    def at(self, rate_per_s: float) -> Tried:
        if rate_per_s not in self._trials:
            self._trials[rate_per_s] = Tried(rate_per_s, self._attained(rate_per_s))
        return self._trials[rate_per_s]

    def kept(self, trial: Tried) -> bool:
        return trial.attained >= self._target

    def tried(self) -> tuple[Tried, ...]:
        return tuple(self._trials[rate] for rate in sorted(self._trials))


def _bracket(
    ladder: _Ladder, start_per_s: float, lowest_per_s: float
) -> tuple[Tried | None, Tried | None]:
    """A rate that holds and a higher one that does not; None where no such rate was found."""
    start = ladder.at(start_per_s)
    return _climb(ladder, start) if ladder.kept(start) else _descend(ladder, start, lowest_per_s)


def _climb(ladder: _Ladder, holds: Tried) -> tuple[Tried, Tried | None]:
    """Up from a rate that holds, the factor squared each time: 2, 4, 16, 256."""
    factor = 2.0
    while holds.rate_per_s < math.inf:
        higher = holds.rate_per_s * factor
        trial = ladder.at(higher if higher <= HIGHEST_RATE_PER_S else math.inf)
        if not ladder.kept(trial):
            return holds, trial
        holds, factor = trial, factor**2
    return holds, None


def _descend(ladder: _Ladder, fails: Tried, lowest_per_s: float) -> tuple[Tried | None, Tried]:
    """Down from a rate that does not, in the same way."""
    factor = 2.0
    while fails.rate_per_s > lowest_per_s:
        trial = ladder.at(max(fails.rate_per_s / factor, lowest_per_s))
        if ladder.kept(trial):
            return trial, fails
        fails, factor = trial, factor**2
    return None, fails


def _between(low: float, high: float) -> float | None:
    """The middle of two rates in their logarithms; None if there is no rate left to try."""
    if math.isfinite(high):
        return math.sqrt(low * high)
    return HIGHEST_RATE_PER_S if low < HIGHEST_RATE_PER_S else None
