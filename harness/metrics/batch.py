"""What shared a step: the width of the batch that latency and throughput come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...engines.trace import StepTrace
from .base import StepMetric


class BatchTokens(StepMetric):
    """Tokens computed in a step, prefill and decode, recomputed ones included.

    Elsewhere: vLLM's server metric "iteration tokens total".
    """

    id = "batch_tokens"
    unit = "tokens"

    def of(self, step: StepTrace) -> float:
        return float(step.prefill_tokens + step.decode_tokens)


class BatchRequests(StepMetric):
    """Sequences with any token computed in a step; each has one chunk of it.

    Elsewhere: "batch size"; simulators (vidur) record it a step.
    """

    id = "batch_requests"
    unit = "requests"

    def of(self, step: StepTrace) -> float:
        return float(len(step.chunks))


@dataclass(frozen=True)
class BudgetUtilisation(StepMetric):
    """Tokens computed in a step / `max_num_batched_tokens`: how full the budget was.

    A policy that never mixes cannot be full in its decode steps, however long the queue.
    Elsewhere: nobody, outside simulators.
    """

    max_num_batched_tokens: int

    id: ClassVar[str] = "budget_utilisation"
    unit: ClassVar[str] = "share"

    def of(self, step: StepTrace) -> float:
        return BatchTokens().of(step) / self.max_num_batched_tokens
