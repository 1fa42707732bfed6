"""How far a comparison is, and how long one that can decide anything takes at its pace."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """fewest: pairs below which no verdict is possible. began_s: of the monotonic clock, when turns
    began. max_time_s: after which none begins."""

    fewest: int
    began_s: float
    max_time_s: float

    def told(self, pairs: int, now_s: float) -> str:
        """Before the next turns. pairs: measured so far."""
        elapsed_s = now_s - self.began_s
        return (
            f"{pairs} pairs measured, of at least {self.fewest}; {elapsed_s:.0f} s of "
            f"{self.max_time_s:.0f} s"
        )

    def too_few(self, pairs: int, now_s: float) -> str:
        """What so many pairs lack, and how long they would take as these did."""
        if not pairs:
            return "before a pair of trials was measured: allow more (--max-time)"
        wanted_s = math.ceil((now_s - self.began_s) * self.fewest / pairs)
        return (
            f"after {pairs} pairs of trials, too few for any verdict: that takes {self.fewest} at "
            f"least, and at this pace {wanted_s} s (--max-time), or shorter trials"
        )
