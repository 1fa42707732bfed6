"""Static batching: a batch is formed when nothing runs, and ends when its longest member ends.

Source: request-level batching as in FasterTransformer, the baseline of Orca (OSDI 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..state import split_running
from ..step import Budget, StepPlan
from .base import Planning, context_chunk
from .preempting import decode_or_preempt


@dataclass(frozen=True)
class StaticBatching:
    """All prompts of a batch are computed before any of its members decodes; nobody joins until
    everybody has left. The token budget cuts the prompts into steps, it does not bound a batch."""

    def plan(self, step: Planning) -> StepPlan:
        queues = step.queues
        if not queues.running and not queues.swapped:
            _form_batch(step)
        budget = Budget.of(step.limits, queues.seats)
        _, contexts = split_running(queues.running)
        chunks = [context_chunk(context, budget) for context in contexts]
        if chunks:
            return step.plan([chunk for chunk in chunks if chunk.length], ())
        decodes = decode_or_preempt(step, queues.running)
        if not step.took_places:
            decodes += step.return_swapped(Budget.of(step.limits, queues.seats))
        return step.plan((), decodes)


def _form_batch(step: Planning) -> None:
    """Everybody who fits joins; what a step computes of them is decided afterwards."""
    most = step.limits.max_num_seqs
    whole = Budget(step.limits.max_model_len * most, most)
    for head, cached in step.heads(step.limits.max_model_len):
        step.start(head, cached, head.known_tokens - cached, whole)
