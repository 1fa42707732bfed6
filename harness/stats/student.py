"""Student's t distribution for a whole number of degrees of freedom.

Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4:
finite sums in theta = atan(t / sqrt(df)).
"""

from __future__ import annotations

import math


def two_sided_p(t: float, df: int) -> float:
    """P(|T| >= |t|)."""
    if df < 1:
        raise ValueError(f"{df} degrees of freedom")
    theta = math.atan2(abs(t), math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    # Terms c, 2/3 c^3, 2/3 4/5 c^5, … for odd df; 1, 1/2 c^2, 1/2 3/4 c^4, … for even.
    total, term = 0.0, cosine if odd else 1.0
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    inside = 2 / math.pi * (theta + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1.0 - inside))


def quantile(confidence: float, df: int) -> float:
    """t such that |T| <= t with that probability: 12.706 for 0.95 and one degree of freedom."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence}")
    low, high = 0.0, 1.0
    while two_sided_p(high, df) > 1 - confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if two_sided_p(middle, df) > 1 - confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2
