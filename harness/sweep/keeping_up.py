"""Whether a run shows that a system keeps up with what it is sent.

It does if as many requests end as come, for what is left over is a queue, wherever it waits: before
the engine, or in a batch that grows and slows every step. So the requests in the system are counted
as each one comes, in the last three quarters of the arrivals: the system fills in the first. Where
they grow by g for each request that comes, the share 1 - g is kept up with (job flow balance:
Denning and Buzen, "The operational analysis of queueing network models", Computing Surveys 10,
1978).

In a run that is too short for its first requests to end there is nothing but growth: it does not
flatter. Latencies would, for nobody waits until as many are there as are served at once.
"""

from __future__ import annotations

import numpy as np

from ..record import RequestStatus
from ..store import RunOnDisk

# How many requests are in the system varies by itself, so some growth is none.
KEPT_UP = 0.97
_FILLING = 0.25
FEWEST_REQUESTS = 20


def kept_up(run: RunOnDisk) -> float:
    """The share of what comes that also ends, at most 1, by least squares over due time; 0 where
    all came at once, for that is no rate. A request that was not served never ends."""
    requests = run.load(without=("token_times_s", "output_token_ids")).requests
    served = requests["status"] == RequestStatus.OK
    due_s = np.sort(requests["t_due_s"].to_numpy(dtype=np.float64))
    ended_s = np.sort(requests.loc[served, "t_end_s"].to_numpy(dtype=np.float64))
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
