"""What the report of a search for capacity is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RateTried:
    """attained: share of the requests that kept the SLO at a rate; rate inf: all at once."""

    rate_per_s: float
    attained: float


@dataclass(frozen=True)
class Capacity:
    """What was found of one engine. answer: in a sentence. how_far: up to which rate what is asked
    holds, in a few words. more: what the answer says beyond that. capacity_per_s: 0 where no rate
    holds, inf where any does; of `arriving`: requests or sessions. interval: in words. trials:
    ascending. binds: what is missed above it. notes: what the answer cannot carry. page: of its run
    at capacity, a relative path; empty without one. unshown: what the capacity is not, in a few
    words; empty where it is what was asked for."""

    label: str
    answer: str
    how_far: str
    more: str
    capacity_per_s: float
    interval: str
    arriving: str
    trials: tuple[RateTried, ...]
    binds: tuple[str, ...]
    notes: tuple[str, ...]
    page: str
    unshown: str = ""


@dataclass(frozen=True)
class Capacities:
    """settings: what was served where. asked: what is to hold. target: share of the requests that
    must keep it. orders: whether one engine is ahead of another. same: what every rate was sent.
    error: how wrong the simulation may be. command: what found it."""

    settings: tuple[str, ...]
    engines: tuple[Capacity, ...]
    asked: str
    target: float
    orders: tuple[str, ...]
    adjustments: tuple[str, ...]
    same: str
    error: str
    command: str
