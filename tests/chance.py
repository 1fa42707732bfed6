"""How far chance may take a count before its test fails: beyond that once in a million runs of it.

A suite has dozens of tests that draw anew each time. Bounds that one in a thousand oversteps, which
each looks strict enough alone, would stop one change in twenty that breaks nothing.
"""

from __future__ import annotations

from scipy.stats import binom

_ONCE_IN = 1e-6


def most(trials: int, chance: float) -> int:
    """Of independent trials, each of which has at most this chance."""
    return int(binom.isf(_ONCE_IN, trials, chance))


def fewest(trials: int, chance: float) -> int:
    """Of independent trials, each of which has at least this chance."""
    return int(binom.ppf(_ONCE_IN, trials, chance))
