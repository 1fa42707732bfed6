"""Which process brings requests as a trace does.

Tried in order of their parameters: constant gaps, Poisson, gamma gaps, ON/OFF, stages of gamma gaps
whose rate follows the trace's, and such stages within which the rate changes at random. The first
whose dispersion is near the trace's in every window is taken; where none is, the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..arrivals import NoRequestsError, due_times_s
from ..spec import Arrivals, Constant, Gamma, OnOff, Poisson, Stages
from .burstiness import Burstiness, Seconds, burstiness, on_off_dispersion
from .minutes import PERIODS_S, STAGE_S, Minutes
from .rounding import LEAST_CV, rounded

# Near: within this factor, for gaps' CV and for counts in every window, or within three standard
# errors of the trace's own dispersion where its windows are few.
NEAR = 1.25
# What varies less than this, gaps by a hundredth of their mean and counts by a tenth of what they
# would of a Poisson process, is as good as regular, and how much less it is says nothing.
_LEAST_DISPERSION = 0.1
_DRAWS = 6


def fit_arrivals(times_s: Seconds, trace: Burstiness) -> Arrivals:
    """The process to send so many requests by. times_s: ascending, from 0."""
    tried: list[tuple[float, Arrivals]] = []
    for arrivals in _candidates(times_s, trace):
        drawn = drawn_burstiness(arrivals, len(times_s))
        if drawn is None:
            continue
        factors = factors_apart(trace, drawn)
        if is_near(trace, factors):
            return arrivals
        tried.append((max(factors.values()), arrivals))
    return min(tried, key=lambda pair: pair[0])[1]


def drawn_burstiness(arrivals: Arrivals, num_requests: int) -> Burstiness | None:
    """What a process comes to in draws as long as the trace: the mean over several seeds; None
    where each draw brings nothing, or all of it at once."""
    drawn = [
        found
        for seed in range(_DRAWS)
        if (times_s := _draw(arrivals, num_requests, seed)) is not None
        and (found := burstiness(times_s)) is not None
    ]
    if not drawn:
        return None
    windows = set.intersection(*(set(one.dispersion) for one in drawn))
    return Burstiness(
        float(np.mean([one.rate_per_s for one in drawn])),
        float(np.mean([one.gap_cv for one in drawn])),
        float(np.mean([one.span_s for one in drawn])),
        {w: float(np.mean([one.dispersion[w] for one in drawn])) for w in sorted(windows)},
    )


def _draw(arrivals: Arrivals, num_requests: int, seed: int) -> Seconds | None:
    """None where the process brings no request with this seed."""
    count = None if isinstance(arrivals, Stages) else num_requests
    try:
        return due_times_s(arrivals, count, np.random.default_rng(seed))
    except NoRequestsError:
        return None


def factors_apart(trace: Burstiness, fit: Burstiness) -> dict[float, float]:
    """By which factor, either way, dispersions differ by window, and gaps' CV under 0; what is as
    good as regular differs by none."""
    factors = {0.0: _apart(trace.gap_cv, fit.gap_cv, LEAST_CV)}
    for window_s in sorted(trace.dispersion.keys() & fit.dispersion.keys()):
        # Regular arrivals bring one more or one less to a window, by where it happens to begin: a
        # variance of up to 1/4.
        phase = 0.25 / max(1.0, trace.rate_per_s * window_s)
        least = max(_LEAST_DISPERSION, phase)
        pair = trace.dispersion[window_s], fit.dispersion[window_s]
        factors[window_s] = _apart(*pair, least)
    return factors


def is_near(trace: Burstiness, factors: Mapping[float, float]) -> bool:
    """Whether a process whose factors these are, as of `factors_apart`, behaves as the trace."""
    return all(factor <= _allowed(trace, window_s) for window_s, factor in factors.items())


def _apart(a: float, b: float, least: float) -> float:
    low, high = sorted((max(a, least), max(b, least)))
    return high / low


def _allowed(trace: Burstiness, window_s: float) -> float:
    """The logarithm of a variance of n counts that are near normal has a standard error of
    sqrt(2 / n)."""
    return max(NEAR, math.exp(3 * math.sqrt(2 * window_s / trace.span_s)))


def _candidates(times_s: Seconds, trace: Burstiness) -> Iterator[Arrivals]:
    rate = rounded(trace.rate_per_s)
    yield Constant(kind="constant", rate_per_s=rate)
    yield Poisson(kind="poisson", rate_per_s=rate)
    if trace.gap_cv > LEAST_CV:
        yield Gamma(kind="gamma", rate_per_s=rate, cv=rounded(trace.gap_cv))
    if trace.gap_cv > 1 and trace.dispersion:
        yield on_off(trace)
    if times_s[-1] > 2 * STAGE_S:
        minutes = Minutes.of(times_s)
        yield minutes.gamma()
        for period_s in PERIODS_S:
            if (modulated := minutes.modulated(period_s)) is not None:
                yield modulated


def on_off(trace: Burstiness) -> OnOff:
    """The interrupted Poisson process of the trace's rate and CV whose dispersion is nearest.

    With p the share of the time that it is ON and r = rate / p, the gaps' CV^2 is
    1 + 2 (1 - p)^2 mean_on r (see `arrivals.on_off`), so that p is all that is left to choose.
    """

    def at(share_on: float) -> tuple[float, float]:
        on_rate = trace.rate_per_s / share_on
        mean_on_s = (trace.gap_cv**2 - 1) / (2 * (1 - share_on) ** 2 * on_rate)
        apart = sum(
            math.log(on_off_dispersion(trace.rate_per_s, share_on, mean_on_s, window_s) / found)
            ** 2
            for window_s, found in trace.dispersion.items()
            if found > 0
        )
        return apart, mean_on_s

    share_on = min(np.linspace(0.005, 0.995, 199).tolist(), key=lambda share: at(share)[0])
    mean_on_s = at(share_on)[1]
    return OnOff(
        kind="on_off",
        on_rate_per_s=rounded(trace.rate_per_s / share_on),
        mean_on_s=rounded(mean_on_s),
        mean_off_s=rounded(mean_on_s * (1 - share_on) / share_on),
    )
