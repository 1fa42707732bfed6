"""Mixed batching in Sarathi's order: decodes, then prompts under way, then new ones.

Source: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve",
OSDI 2024, algorithm 3, and its scheduler's code for what the paper leaves open: a decode asks for a
free block even if its last one has room. A chunk budget bounds a step, so a long prompt never
stalls the decodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..state import split_running
from ..step import Budget, Chunk, StepPlan
from .base import Planning, context_chunk
from .preempting import decode_with_spare


@dataclass(frozen=True)
class SarathiBatching:
    """Its chunk is `max_num_batched_tokens`: what a step may compute, decodes included."""

    def plan(self, step: Planning) -> StepPlan:
        queues = step.queues
        decoding, _ = split_running(queues.running)
        decodes = decode_with_spare(step, decoding, group_of=lambda one: one)
        budget = Budget.of(step.limits, queues.seats)
        budget.take(min(len(decodes), budget.tokens))
        if not step.took_places:
            decodes += step.return_swapped(budget)
        _, contexts = split_running(queues.running)
        chunks = [context_chunk(context, budget) for context in contexts]
        if not queues.swapped:
            chunks += _start_prompts(step, budget)  # even after a preemption
        return step.plan([chunk for chunk in chunks if chunk.length], decodes)


def _start_prompts(step: Planning, budget: Budget) -> list[Chunk]:
    """First chunks of what the budget has left; they take the room of all their tokens."""
    chunks: list[Chunk] = []
    for head, cached in step.heads(step.limits.max_model_len):
        length = min(head.known_tokens - cached, budget.tokens)
        chunk = step.start(head, cached, length, budget)
        if chunk:
            chunks.append(chunk)
    return chunks
