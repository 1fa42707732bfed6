"""Whether one of two treatments of the same subjects succeeds more often.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
percentages", Psychometrika 12 (1947), by the exact binomial distribution: of the subjects with
which only one of the two succeeds, as many go one way as the other if there is no difference.
"""

from __future__ import annotations

from math import comb


def mcnemar(only_first: int, only_second: int) -> float:
    """The chance of a split at least as uneven, either way round; 1 where there is none."""
    apart = only_first + only_second
    tail = sum(comb(apart, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**apart)
