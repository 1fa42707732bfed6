"""Mixed batching in Sarathi's order: decodes, then prompts under way, then new ones.

Source: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve",
OSDI 2024, algorithm 3, and its scheduler's code for what the paper leaves open: a decode asks for a
free block even if its last one has room. A chunk budget bounds a step, so a long prompt never
stalls the decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, split_running
from ..step import Budget, Limits, StepPlan
from .base import Planning, context_chunk
from .preempting import decode_or_preempt


@dataclass(frozen=True)
class SarathiBatching:
    """Its chunk is `max_num_batched_tokens`: what a step may compute, decodes included."""

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        step = Planning(queues, kv, admission, limits)
        decoding, _ = split_running(queues.running)
        decodes = decode_or_preempt(step, decoding, spare_block=True)
        budget = Budget.of(limits, queues.seats)
        budget.take(min(len(decodes), budget.tokens))
        if not step.took_places:
            decodes += step.return_swapped(budget)
        _, contexts = split_running(queues.running)
        chunks = [context_chunk(context, budget) for context in contexts]
        if not queues.swapped:
            # New prompts are considered even after a preemption, and take the room of all their
            # tokens with their first chunk.
            chunks += step.start_waiting(
                lambda head, cached: min(head.known_tokens - cached, budget.tokens),
                longest_tokens=limits.max_model_len,
                budget=budget,
            )
        return step.plan([chunk for chunk in chunks if chunk.length], decodes)
