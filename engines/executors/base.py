"""What computes a step: a real model on a device, or a model of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..kv.base import KVLayout
from ..step import StepPlan


@dataclass(frozen=True)
class ForwardTimes:
    """Measured parts of one execution, seconds; see `PhaseTimes` for what each one holds."""

    prepare_s: float = 0.0
    attention_s: float = 0.0
    linear_s: float = 0.0
    sample_s: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """One sampled token for each chunk that reaches its request's tail, in plan order."""

    token_ids: tuple[int, ...]
    times: ForwardTimes = ForwardTimes()


class Executor(Protocol):
    """Computes what the policies planned."""

    def execute(self, plan: StepPlan, layout: KVLayout) -> StepResult: ...
