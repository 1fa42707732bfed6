"""Whether a run shows that a system keeps up with what it is sent.

It does if as many requests end as come, for what is left over is a queue, wherever it waits: before
the engine, or in a batch that grows and slows every step. So the requests in the system are counted
as each one comes, in the last three quarters of the arrivals: the system fills in the first. Where
they grow by g for each request that comes, the share 1 - g is kept up with (job flow balance:
Denning and Buzen, "The operational analysis of queueing network models", Computing Surveys 10,
1978).

Where later turns of a session wait for replies, sessions are what comes, and one ends with its last
turn: turns alone come no faster than they end, whatever the rate.

In a run that is too short for its first requests to end there is nothing but growth: it does not
flatter. Latencies would, for nobody waits until as many are there as are served at once. Where a
queue grows, though, stays do: who comes dt later stays by g / (1 - g) dt longer. Where they do not,
the system is filling.

How many are in the system varies by itself, and a line through few of them rises or falls by
chance: of 60 requests, of which two at a time are there, by more than what is allowed. Counts that
are t apart have those in common who were there at both. In M/G/infinity, where nobody waits, they
correlate by the share of stays' residuals that last longer (Eick, Massey and Whitt, Operations
Research 41, 1993), which comes to one independent count every E[S^2] / E[S] of the stays S; a line
through so many has a standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage.store import RunOnDisk
from ..tables.lives import lives

# How many requests are in the system varies by itself, so some growth is none.
KEPT_UP = 0.97
_FILLING = 0.25
# Standard errors.
_SURE = 2.0
# Of a queue's growth, by which stays must grow at least: in a queue they do by more than it.
_OF_A_QUEUE = 0.5
FEWEST_REQUESTS = 20


@dataclass(frozen=True)
class KeptUp:
    """growth: by how much more are in the system for each that comes, 1 where nothing ends and
    below 0 where a queue empties. error: its standard error. longer: seconds by which who comes a
    second later stays longer."""

    growth: float
    error: float = 0.0
    longer: float = math.inf

    @property
    def share(self) -> float:
        """Of what comes, that also ends."""
        return min(1.0, max(0.0, 1 - self.growth))

    @property
    def enough(self) -> bool:
        return self.share >= KEPT_UP

    @property
    def sure(self) -> bool:
        """Whether chance alone grows by no more than is allowed, or this is farther from that than
        chance takes it; and a growth is of a queue, and not of a system that fills."""
        allowed, chance = 1 - KEPT_UP, _SURE * self.error
        if self.growth > allowed and self.longer < _OF_A_QUEUE * self.growth:
            return False
        return chance <= allowed or abs(self.growth - allowed) > chance


def kept_up(run: RunOnDisk) -> KeptUp:
    """By least squares over due time; none of it where all came at once, for that is no rate. What
    was not served, be it one turn, never ends."""
    requests = run.load(without=("token_times_s", "output_token_ids")).requests
    came_s, end_s = lives(requests)
    if not came_s.size:
        return KeptUp(1.0)
    order = np.argsort(came_s)
    due_s, stays_s = came_s[order], (end_s - came_s)[order]
    come = np.arange(1, due_s.size + 1)
    present = come - np.searchsorted(np.sort(end_s), due_s, side="right")
    late = due_s >= due_s[0] + _FILLING * (due_s[-1] - due_s[0])
    lasted_s = float(np.ptp(due_s[late]))
    if lasted_s == 0:
        return KeptUp(1.0)
    grown, came = (_slope(due_s[late], number[late]) for number in (present, come))
    beside = present[late] - grown * due_s[late]
    spread = float(beside.std()) / float(due_s[late].std())
    error = spread / math.sqrt(max(1.0, lasted_s / _apart_s(stays_s))) / came
    ended = late & np.isfinite(stays_s)
    return KeptUp(grown / came, error, _slope(due_s[ended], stays_s[ended]))


def _slope(at_s: NDArray[np.float64], values: NDArray[Any]) -> float:
    """By least squares; inf where all are at one time."""
    if at_s.size < 2 or np.ptp(at_s) == 0:
        return math.inf
    since_s = at_s - at_s.mean()
    return float(since_s @ values) / float(since_s @ since_s)


def _apart_s(stays_s: NDArray[np.float64]) -> float:
    """How far apart counts are independent. Of those that ended: what never does is growth, and no
    chance."""
    ended_s = stays_s[np.isfinite(stays_s)]
    return float((ended_s**2).mean() / ended_s.mean()) if ended_s.size else math.inf
