"""Stages that follow a trace's rate, and what chance does within them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spec import Gamma, Modulated, Stage, Stages
from .burstiness import Seconds
from .rounding import LEAST_CV, rounded

Counts = NDArray[np.int64]

# Stages are as long as the widest window of `burstiness.py`, or longer where there would be more
# than so many: of whole minutes, so that every period is a part of one.
STAGE_S = 60.0
_MOST_STAGES = 120
# How long a rate may last within a stage.
PERIODS_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
# Counts of more periods than these are not looked at: a trace of years, by the second.
_MOST_PERIODS = 10_000_000

StageOf = Callable[[float], Gamma | Modulated]
"""What a stage of so many requests a second is."""


@dataclass(frozen=True)
class Minutes:
    """A trace cut into stages of one length, but for the last.

    counts: arrivals of each. lengths_s: of each.
    """

    times_s: Seconds
    stage_s: float
    counts: Counts
    lengths_s: Seconds

    @classmethod
    def of(cls, times_s: Seconds) -> Minutes:
        """times_s: ascending, from 0."""
        span_s = float(times_s[-1])
        stage_s = STAGE_S * math.ceil(max(STAGE_S, span_s / _MOST_STAGES) / STAGE_S)
        edges_s = np.arange(0, span_s, stage_s)
        # The last arrival is in the last stage, also where that ends with it.
        stage = np.minimum((times_s // stage_s).astype(np.int64), len(edges_s) - 1)
        counts = np.bincount(stage, minlength=len(edges_s))
        return cls(times_s, stage_s, counts, np.minimum(stage_s, span_s - edges_s))

    def gamma(self) -> Stages:
        """Stages of gamma gaps, whose CV is that of gaps measured by their stage's mean."""
        rates_per_s = np.repeat(self.counts / self.lengths_s, self.counts)
        cv = _cv(np.diff(self.times_s) * rates_per_s[1:])
        return self._following(lambda rate_per_s: Gamma(kind="gamma", rate_per_s=rate_per_s, cv=cv))

    def modulated(self, period_s: float) -> Stages | None:
        """Stages whose rate changes every `period_s`, as the trace's does around its stage's mean;
        None where that varies no more than the gaps make it.

        By the law of total variance, counts of mean m vary by cv^2 m for the gaps, which is exact
        for Poisson and, for others, near in periods of many; the rest is the rates' (see
        `modulated.py`).
        """
        if self.times_s[-1] / period_s > _MOST_PERIODS:
            return None
        periods = round(self.stage_s / period_s)
        whole = len(self.counts) - 1
        counts = np.bincount((self.times_s // period_s).astype(np.int64))[: whole * periods]
        by_stage = counts.reshape(whole, periods)
        mean = float(counts.mean())
        varies = float(by_stage.var(axis=1, ddof=1).mean())
        cv = self._cv_by(period_s)
        rate_cv = rounded(math.sqrt(max(0.0, varies - cv * cv * mean)) / mean)
        if rate_cv < LEAST_CV:
            return None
        # What the periods add to how stages vary is in the trace's own counts, too.
        stages_vary = float(self.counts[:whole].var(ddof=1))
        by_chance = min(1.0, periods * varies / stages_vary) if stages_vary else 1.0
        return self._following(
            lambda rate_per_s: Modulated(
                kind="modulated", rate_per_s=rate_per_s, period_s=period_s, rate_cv=rate_cv, cv=cv
            ),
            math.sqrt(1 - by_chance),
        )

    def _cv_by(self, period_s: float) -> float:
        """Of gaps, measured by the mean of their own period: on a clock that goes by its counts."""
        counts = np.bincount((self.times_s // period_s).astype(np.int64))
        edges_s = np.arange(len(counts) + 1) * period_s
        shown = np.interp(self.times_s, edges_s, np.concatenate(([0], np.cumsum(counts))))
        return _cv(np.diff(shown))

    def _following(self, stage_of: StageOf, share: float = 1.0) -> Stages:
        """Stages, each with the trace's own rate there, or `share` of how far that is from the
        mean."""
        mean_per_s = float(self.counts.sum() / self.lengths_s.sum())
        stages: list[Stage] = []
        waiting_s = 0.0
        for count, length_s in zip(self.counts.tolist(), self.lengths_s.tolist(), strict=True):
            waiting_s += length_s
            # A stage without arrivals is part of the next one.
            if count and waiting_s > 0:
                rate_per_s = mean_per_s + share * (count / waiting_s - mean_per_s)
                gaps = stage_of(rounded(rate_per_s))
                stages.append(Stage(arrivals=gaps, duration_s=rounded(waiting_s)))
                waiting_s = 0.0
        return Stages(kind="stages", stages=tuple(stages))


def _cv(gaps: Seconds) -> float:
    return rounded(max(float(gaps.std() / gaps.mean()), LEAST_CV))
