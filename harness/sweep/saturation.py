"""The request rate that a system no longer follows: found by running it at growing rates.

A system follows an offered rate if enough requests keep the SLO, where there is one. Otherwise, if
it begins to answer as fast as requests come: a reply that has begun will end, and what cannot keep
up lets its queue grow instead. The search is `harness/capacity.py`'s: bracketed by growing factors,
bisected, and tried around the answer, because nothing guarantees one threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...engines.errors import ConfigError
from ..capacity import HIGHEST_RATE_PER_S, Search, check_search, find_capacity
from ..errors import InvalidRun
from ..record import RequestStatus
from ..store import RunOnDisk
from .cells import Done, Sweep, until_done
from .grid import Cell

RATE = "request-rate"
# Of the offered rate. The queue of what begins fewer grows as long as requests come.
FOLLOWED = 0.95
LOWEST_PER_S = 1e-2


@dataclass(frozen=True)
class Goal:
    """target: share that must be followed; tolerance: how far apart, as a share, the rate that is
    followed and the one that is not may be. criterion: what it is to follow, in words."""

    target: float
    tolerance: float
    start_per_s: float
    criterion: str

    def __post_init__(self) -> None:
        check_search(self.target, self.tolerance)
        if not LOWEST_PER_S <= self.start_per_s <= HIGHEST_RATE_PER_S:
            raise ConfigError(
                "start_rate", self.start_per_s, f"{LOWEST_PER_S} to {HIGHEST_RATE_PER_S:g} a second"
            )


@dataclass(frozen=True)
class Saturation:
    """What was found at one point of a grid. trials: every run of the search, ascending."""

    point: Cell
    search: Search
    trials: tuple[Done, ...]


def find_saturation(
    sweep: Sweep, point: Cell, goal: Goal, report: Callable[[str], None]
) -> Saturation:
    """Search at one point. Trials that are stored are found, and so the search goes on where it
    stopped. Raises InvalidRun for a trial that stored nothing."""
    trials: dict[float, Done] = {}

    def followed(rate_per_s: float) -> float:
        cell = Cell((*point.settings, (RATE, f"{rate_per_s:.6g}")), point.repeat, point.seed)
        report(f"trying {cell.name}")
        done = trials[rate_per_s] = until_done(sweep, cell)
        if done.run is None:
            raise InvalidRun(f"{cell.name}: {done.failure}")
        return share_followed(done.run)

    search = find_capacity(
        followed,
        target=goal.target,
        tolerance=goal.tolerance,
        start_per_s=goal.start_per_s,
        lowest_per_s=LOWEST_PER_S,
    )
    return Saturation(point, search, tuple(trials[rate] for rate in sorted(trials)))


def share_followed(run: RunOnDisk) -> float:
    """The share of requests within the SLO, if the run was given one. Otherwise the rate at which
    replies began over the rate at which requests were due: the time of the last arrival over that
    of the last first token, times the share of requests that were served."""
    goodput = run.result.metrics.get("goodput_share")
    if run.result.config.get("slo") and goodput is not None:
        return goodput.stats["run"]
    requests = run.load(without=("token_times_s", "output_token_ids")).requests
    served = requests[requests["status"] == RequestStatus.OK]
    last_due_s = float(requests["t_due_s"].max())
    if served.empty or last_due_s <= 0:
        return 0.0  # all due at once: no rate is followed
    begun_s = float(served["t_first_s"].max())
    return len(served) / len(requests) * min(1.0, last_due_s / begun_s)
