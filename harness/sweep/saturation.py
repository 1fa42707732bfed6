"""The request rate that a system no longer follows: found by running it at growing rates.

A system follows an offered rate if enough requests keep the SLO, where there is one. Otherwise, if
it begins to answer as fast as requests come: a reply that has begun will end, and what cannot keep
up lets its queue grow instead. How long requests wait is no matter, as long as those that come
later wait no longer. The search is `harness/capacity.py`'s: bracketed by growing factors,
bisected, and tried around the answer, because nothing guarantees one threshold.

A run that is not valid is no evidence, and the search ends with it: a client that was too busy says
nothing about the server. One that is not valid because requests failed is evidence against its
rate: what a system refuses it does not follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...engines.errors import ConfigError
from ..capacity import HIGHEST_RATE_PER_S, Search, check_search, find_capacity
from ..evidence import objections
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
    """What was found at one point of a grid. search: None where a run ended it that proves nothing,
    and then `failure` says why. trials: every run of it, ascending. highest_followed_per_s,
    lowest_not_followed_per_s: of its runs; None where there is none."""

    point: Cell
    search: Search | None
    trials: tuple[Done, ...]
    failure: str = ""
    highest_followed_per_s: float | None = None
    lowest_not_followed_per_s: float | None = None


class _NoEvidenceError(Exception):
    """A run that says nothing of its rate."""


def find_saturation(
    sweep: Sweep, point: Cell, goal: Goal, report: Callable[[str], None]
) -> Saturation:
    """Search at one point. Trials that are stored are found, and so the search goes on where it
    stopped."""
    trials: dict[float, Done] = {}
    shares: dict[float, float] = {}

    def followed(rate_per_s: float) -> float:
        cell = Cell((*point.settings, (RATE, f"{rate_per_s:.6g}")), point.repeat, point.seed)
        report(f"trying {cell.name}")
        done = trials[rate_per_s] = until_done(sweep, cell)
        shares[rate_per_s] = _evidence(done)
        return shares[rate_per_s]

    search, failure = None, ""
    try:
        search = find_capacity(
            followed,
            target=goal.target,
            tolerance=goal.tolerance,
            start_per_s=goal.start_per_s,
            lowest_per_s=LOWEST_PER_S,
        )
    except _NoEvidenceError as error:
        failure = str(error)
        report(failure)
    return Saturation(
        point,
        search,
        tuple(trials[rate] for rate in sorted(trials)),
        failure,
        max((rate for rate, share in shares.items() if share >= goal.target), default=None),
        min((rate for rate, share in shares.items() if share < goal.target), default=None),
    )


def _evidence(done: Done) -> float:
    """The share that was followed; 0 where requests failed. Raises _NoEvidenceError."""
    if done.run is None:
        raise _NoEvidenceError(f"{done.cell.name}: {done.failure}")
    if refuses(done.run):
        return 0.0
    for reason in objections(done.run):
        raise _NoEvidenceError(f"{done.cell.name} is not valid: {reason}")
    return share_followed(done.run)


def refuses(run: RunOnDisk) -> bool:
    """Whether all that is wrong with a run is that some of its requests were not served."""
    fatal = [check.id for check in run.result.validity.failures if check.fatal]
    return fatal == ["errors"] and run.result.counters.requests_ok > 0


def share_followed(run: RunOnDisk) -> float:
    """The share of requests within the SLO, if the run was given one. Otherwise the rate at which
    replies begin over the rate at which requests are due, at most 1, times the share of requests
    that were served; 0 where all are due at once, for that is no rate.

    Where requests come at r a second and begin at c, fewer, each waits 1/c - 1/r longer than the
    one before it: TTFT grows by r/c - 1 seconds a second, and c/r = 1 / (1 + growth). The growth is
    the slope of TTFT over due time by least squares, so that a constant TTFT is none, and one late
    reply little.
    """
    goodput = run.result.metrics.get("goodput_share")
    if run.result.config.get("slo") and goodput is not None:
        return goodput.stats["run"]
    requests = run.load(without=("token_times_s", "output_token_ids")).requests
    served = requests[requests["status"] == RequestStatus.OK]
    due_s = served["t_due_s"].to_numpy(dtype=np.float64)
    if served.empty or np.ptp(due_s) == 0:
        return 0.0
    ttft_s = served["t_first_s"].to_numpy(dtype=np.float64) - due_s
    since_s = due_s - due_s.mean()
    growth = max(0.0, float(since_s @ ttft_s / (since_s @ since_s)))
    return len(served) / len(requests) / (1 + growth)
