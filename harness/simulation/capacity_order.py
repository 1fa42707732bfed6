"""Whether one engine holds a larger rate than another, or chance alone might have put it first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from ...workloads.scaled import Arriving
from ..comparison.evidence import ERROR_RATE
from ..stats.batches import uneven_p
from ..stats.holm import holm
from .capacity_goal import CapacityGoal, kept_by
from .simulate import PreparedSimulation
from .simulated_capacity import EngineCapacity, serve_at

if TYPE_CHECKING:
    from ..run.watch import Watch


@dataclass(frozen=True)
class Order:
    """Two engines at the largest rate that the first holds, its capacity, and the second does not.

    Two of one capacity are held against each other there. rate_per_s: of what arrives. only_first,
    only_second: requests that keep the SLO with one of them alone. p: the chance of so uneven a
    split if neither kept more (`stats/batches.py`), after Holm's correction over all pairs.
    """

    first: str
    second: str
    rate_per_s: float
    only_first: int
    only_second: int
    p: float
    arriving: Arriving = "requests"

    @property
    def is_noise(self) -> bool:
        return self.p >= ERROR_RATE


def orders(
    prepared: Sequence[PreparedSimulation],
    found: Sequence[EngineCapacity],
    goal: CapacityGoal,
    watch: Watch,
) -> tuple[Order, ...]:
    """Each engine beside the next in order of capacity, on the same requests. prepared: of each
    that was found. Two that hold no rate, or any, have no order."""
    ranked = sorted(
        zip(prepared, found, strict=True), key=lambda one: one[1].capacity_per_s, reverse=True
    )
    told: list[Order] = []
    for (_, first), (behind, second) in pairwise(ranked):
        rate_per_s = first.capacity_per_s
        kept = second.kept
        if rate_per_s == second.capacity_per_s:
            if not 0 < rate_per_s < math.inf:
                continue
        else:
            watch.stage(f"{second.config.label} at the capacity of {first.config.label}")
            _, seen = serve_at(behind, rate_per_s, watch)
            kept = kept_by(seen.records, goal)
        both = list(zip(first.kept, kept, strict=True))
        only_first = [pair == (True, False) for pair in both]
        only_second = [pair == (False, True) for pair in both]
        told.append(
            Order(
                first.config.label,
                second.config.label,
                rate_per_s,
                sum(only_first),
                sum(only_second),
                uneven_p(only_first, only_second),
                first.arriving,
            )
        )
    adjusted = holm([one.p for one in told])
    return tuple(replace(one, p=p) for one, p in zip(told, adjusted, strict=True))
