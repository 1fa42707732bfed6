"""How a fit writes its numbers."""

from __future__ import annotations

# Gaps that vary by less, of their mean, are as good as regular.
LEAST_CV = 0.01


def rounded(value: float) -> float:
    """To four digits: no trace tells more."""
    return float(f"{value:.4g}")
