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
flatter. Latencies would, for nobody waits until as many are there as are served at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..run.record import RequestStatus
from ..storage.store import RunOnDisk

if TYPE_CHECKING:
    import pandas as pd

# How many requests are in the system varies by itself, so some growth is none.
KEPT_UP = 0.97
_FILLING = 0.25
FEWEST_REQUESTS = 20


def kept_up(run: RunOnDisk) -> float:
    """The share of what comes that also ends, at most 1, by least squares over due time; 0 where
    all came at once, for that is no rate. What was not served, be it one turn, never ends."""
    requests = run.load(without=("token_times_s", "output_token_ids")).requests
    due_s, ended_s = map(np.sort, _lives(requests))
    if not due_s.size:
        return 0.0
    come = np.arange(1, due_s.size + 1)
    present = come - np.searchsorted(ended_s, due_s, side="right")
    late = due_s >= due_s[0] + _FILLING * (due_s[-1] - due_s[0])
    since_s = due_s[late] - due_s[late].mean()
    passed = float(since_s @ since_s)
    if passed == 0:
        return 0.0
    grown, came = (float(since_s @ counts[late]) / passed for counts in (present, come))
    return min(1.0, max(0.0, 1 - grown / came))


def _lives(requests: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(when each came, when each that did ended), of requests or of sessions."""
    ends_s = requests["t_end_s"].where(requests["status"] == RequestStatus.OK, np.inf)
    if requests["after"].isna().all():
        lasted = requests["t_due_s"].to_numpy(dtype=np.float64), ends_s.to_numpy(dtype=np.float64)
    else:
        session = _session_of(requests)
        begun_s = requests["t_due_s"].groupby(session).min()
        lasted = begun_s.to_numpy(dtype=np.float64), ends_s.groupby(session).max().to_numpy()
    came_s, ended_s = lasted
    return came_s, ended_s[np.isfinite(ended_s)]


def _session_of(requests: pd.DataFrame) -> list[int]:
    """Of each row, the index of the request that its session began with."""
    first: dict[int, int] = {}
    waits = requests.dropna(subset=["after"]).sort_values("index")
    # A turn has a larger index than the one before it.
    for index, after in zip(waits["index"], waits["after"], strict=True):
        first[int(index)] = first.get(int(after), int(after))
    return [first.get(int(index), int(index)) for index in requests["index"]]
