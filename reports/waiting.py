"""How many requests waited at any time: those that a planned step left out, and those that came
while it ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .facts import floats
from .model import Run
from .thinning import Floats


@dataclass(frozen=True)
class Waiting:
    """Requests that waited, over a run.

    steps: [steps], the mean over each step. most: at once. share: of the time from the run's start
    to its last step's end, in which some waited.
    """

    steps: Floats
    most: int
    share: float


def waiting_of(run: Run) -> Waiting:
    """Of a run with steps. What `steps.waiting` holds is what a step left once it was planned; a
    request that comes while one runs waits for the next, as its queue time says. The samples of one
    prompt come and wait as one."""
    start_s, end_s = floats(run.steps, "start_s"), floats(run.steps, "end_s")
    left = floats(run.steps, "waiting")
    came = run.requests[run.requests["sample"] == 0]
    due_s = floats(came, "t_due_s")
    next_step = np.searchsorted(start_s, floats(came, "t_send_s"))
    seen_s = np.append(start_s, end_s[-1])[next_step]
    # A step may have begun an instant before it was told of a request that it took.
    seen_s = np.maximum(np.fmin(seen_s, floats(came, "t_scheduled_s")), due_s)
    times_s = np.concatenate([due_s, seen_s, start_s, end_s[-1:]])
    changes = np.concatenate(
        [np.ones_like(due_s), -np.ones_like(seen_s), np.diff(left, prepend=0.0), -left[-1:]]
    )
    times_s, at = np.unique(times_s, return_inverse=True)
    level = np.cumsum(np.bincount(at, weights=changes))
    lasts_s = np.diff(times_s)
    waited_s = np.append(0.0, np.cumsum(level[:-1] * lasts_s))
    of_steps = np.diff(np.interp(np.stack([start_s, end_s], axis=1), times_s, waited_s))[:, 0]
    durations_s = end_s - start_s
    return Waiting(
        steps=np.divide(of_steps, durations_s, out=left.copy(), where=durations_s > 0),
        most=round(level.max(initial=0.0)),
        share=float(lasts_s[level[:-1] > 0.5].sum() / end_s[-1]) if end_s[-1] > 0 else 0.0,
    )
