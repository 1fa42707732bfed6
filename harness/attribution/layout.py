"""The order of the phases inside a step, and which of them count as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ...engines.trace import PhaseTimes

Floats = NDArray[np.float64]

# Every phase of `PhaseTimes` has a place; a test holds this, so that a new one is no residual.
BEFORE = ("schedule_s", "prepare_s")
SWAP = ("swap_s",)
MODEL = ("attention_s", "linear_s", "communicate_s")
SAMPLE = ("sample_s",)
AFTER = ("host_s",)
PHASES = tuple(phase.name for phase in fields(PhaseTimes))


@dataclass(frozen=True)
class Layout:
    """When each part of each step begins and ends: [steps] each, ascending within a step.

    A step runs from start_s over swap_s (where swapping begins), model_s, after_s and done_s (where
    its phases end) to end_s. Where steps overlap, the time is the earlier one's.
    """

    start_s: Floats
    swap_s: Floats
    model_s: Floats
    after_s: Floats
    done_s: Floats
    end_s: Floats

    @property
    def model_time_s(self) -> Floats:
        return self.after_s - self.model_s


def lay_out(start_s: Floats, end_s: Floats, phases: Mapping[str, Floats]) -> Layout:
    """phases: time of each phase in each step, by its name in `PHASES`."""
    nothing = np.zeros_like(start_s)

    def together(*names: str) -> Floats:
        return sum((phases[name] for name in names if name in phases), nothing)

    waits_in_sample = not np.any(phases["attention_s"] > 0)
    model = (*MODEL, *SAMPLE) if waits_in_sample else MODEL
    after = AFTER if waits_in_sample else (*SAMPLE, *AFTER)
    ends = np.maximum.accumulate(end_s)
    begins = np.minimum(np.maximum(start_s, np.append(-np.inf, ends[:-1])), ends)
    at = start_s

    def until(earlier: Floats, *names: str) -> Floats:
        """When the phases that follow `earlier` end."""
        nonlocal at
        at = at + np.maximum(together(*names), 0.0)
        return np.clip(at, earlier, ends)

    swap_s = until(begins, *BEFORE)
    model_s = until(swap_s, *SWAP)
    after_s = until(model_s, *model)
    done_s = until(after_s, *after)
    return Layout(begins, swap_s, model_s, after_s, done_s, ends)
