"""How arrivals are spread over time: their rate, their gaps, and counts in windows.

The coefficient of variation sees gaps one by one. The index of dispersion for counts, variance over
mean of the number of arrivals in windows of w seconds, sees what lasts: 1 at any w for Poisson, and
it grows with w where busy and quiet times last longer than w (Cox and Lewis, The Statistical
Analysis of Series of Events, 1966, section 4.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

WINDOWS_S = (1.0, 10.0, 60.0)
# Fewer windows say nothing of a variance.
_LEAST_WINDOWS = 10


@dataclass(frozen=True)
class Burstiness:
    """rate_per_s: arrivals but one, over the time from first to last. gap_cv: standard deviation
    of the gaps over their mean. span_s: from first to last. dispersion: index of dispersion by
    window in seconds; windows of which there are fewer than ten are left out."""

    rate_per_s: float
    gap_cv: float
    span_s: float
    dispersion: Mapping[float, float]


def burstiness(times_s: Seconds) -> Burstiness | None:
    """Of ascending times; None where they span no time."""
    span_s = float(times_s[-1] - times_s[0]) if len(times_s) else 0.0
    if span_s <= 0:
        return None
    gaps_s = np.diff(times_s)
    dispersion = {
        window_s: index_of_dispersion(times_s - times_s[0], window_s)
        for window_s in WINDOWS_S
        if span_s >= _LEAST_WINDOWS * window_s
    }
    gap_cv = float(gaps_s.std() / gaps_s.mean())
    return Burstiness(1 / float(gaps_s.mean()), gap_cv, span_s, dispersion)


def index_of_dispersion(times_s: Seconds, window_s: float) -> float:
    """Variance over mean of the counts in whole windows from 0 to the last time."""
    windows = int(times_s[-1] // window_s)
    which = times_s // window_s
    # Windows without arrivals are counted and never held: there may be billions of them.
    found = np.unique(which[which < windows], return_counts=True)[1].tolist()
    total, squares = sum(found), sum(count * count for count in found)
    # In whole numbers, of which Python has as many digits as it takes: nothing cancels out.
    return (windows * squares - total * total) / (windows * total) if total else 0.0


def on_off_dispersion(
    rate_per_s: float, share_on: float, mean_on_s: float, window_s: float
) -> float:
    """Index of dispersion of an interrupted Poisson process, in closed form.

    rate_per_s: its mean rate. share_on: of the time. With r the rate while ON, s = 1 / mean_on +
    1 / mean_off and t the window, it is 1 + 2 r (1 - share_on) (1 / s - (1 - e^(-s t)) / (s^2 t)):
    the rate's autocovariance is r^2 share_on (1 - share_on) e^(-s tau), integrated twice.
    """
    s = 1 / mean_on_s + share_on / ((1 - share_on) * mean_on_s)
    lasting = 1 / s - -np.expm1(-s * window_s) / (s * s * window_s)
    return float(1 + 2 * (rate_per_s / share_on) * (1 - share_on) * lasting)
