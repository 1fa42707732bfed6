"""How far a share of so many trials may be from the one behind it.

Source: Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
the American Statistical Association 22 (1927): the shares that a score test at this count does not
reject. Unlike share ± error it stays within 0 and 1, and 100 of 100 are not taken for certainty.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
_Z2 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2


def wilson(share: float, trials: float) -> tuple[float, float]:
    """The interval of a share that was seen in `trials` independent ones, more than none; of others
    in as many independent ones as tell as much (`batches.py`)."""
    middle = (share + _Z2 / (2 * trials)) / (1 + _Z2 / trials)
    half = sqrt(share * (1 - share) * _Z2 / trials + (_Z2 / (2 * trials)) ** 2) / (1 + _Z2 / trials)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def fewest_to_show(share: float) -> int | None:
    """How many trials, all of them kept, put the interval's lower end, n / (n + z²), at `share`;
    None for all, which no number shows."""
    return None if share >= 1 else ceil(_Z2 * share / (1 - share))
