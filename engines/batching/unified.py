"""Mixed batching with one token budget: no phases, only tokens that are known and not computed.

Source: vLLM v1's scheduler. The running list is walked in order, prompts under way and decodes
alike; then new requests share what the budget has left. KV room is taken chunk by chunk, and a
block may be shared as soon as it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..state import RequestState
from ..step import Budget, Chunk, StepPlan, decodes_of
from .base import Planning


@dataclass(frozen=True)
class UnifiedBatching:
    """Each running request catches its computed tokens up with its known ones.

    chunked: a prompt may be split over steps; without it, one that does not fit whole waits.
    long_prefill_tokens: the most tokens of one request in a step; 0: no such limit.
    whole_prompt_fits: a request starts only where all that it knows would fit at once, though it
    takes room for its first chunk alone (vLLM's scheduler_reserve_full_isl): without, more start
    than can be held, and make room for each other half computed.
    """

    chunked: bool = True
    long_prefill_tokens: int = 0
    whole_prompt_fits: bool = False

    def plan(self, step: Planning) -> StepPlan:
        queues = step.queues
        budget = Budget.of(step.limits, queues.seats)
        prefills, decodes = self._catch_up(step, budget)
        if not step.took_places:
            decodes += step.return_swapped(budget)
        if not step.took_places and not queues.swapped:
            prefills += self._start(step, budget)
        return step.plan(prefills, decodes)

    def _catch_up(self, step: Planning, budget: Budget) -> tuple[list[Chunk], list[Chunk]]:
        """Running requests in order: contexts under way, and decodes. The last in line makes room,
        the one asking if it is the last; then the walk ends."""
        running, kv = step.queues.running, step.kv
        publish = kv.publish if kv.names_blocks else None
        prefills: list[Chunk] = []
        decoding: list[RequestState] = []
        # Whoever makes room leaves the queue from its end, so the walk never sees them.
        for request in running:
            computed = request.computed_tokens
            length = self._length(request.known_tokens - computed, budget.tokens)
            if not length:
                continue  # without budget for it, it is skipped and keeps its place
            while not kv.extend(request, computed + length):
                victim = running[-1]
                step.preempt([victim])
                if victim is request:
                    return prefills, decodes_of(decoding)
            budget.tokens -= length
            if publish:
                publish(request, computed + length)
            if computed >= request.context_tokens:
                decoding.append(request)
            else:
                prefills.append(Chunk(request, computed, length))
        return prefills, decodes_of(decoding)

    def _start(self, step: Planning, budget: Budget) -> list[Chunk]:
        limits, chunks = step.limits, list[Chunk]()
        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)
        for head, cached in step.heads(longest):
            length = head.known_tokens - cached
            if self.chunked:
                length = self._length(length, budget.tokens)
            room = cached + length
            asked = None if self.whole_prompt_fits else room
            chunk = step.start(head, cached, length, budget, room_tokens=room, asked_tokens=asked)
            if chunk:
                # So that the next to start may find its blocks: a layer writes all of a step's
                # keys and values before any of them is read.
                step.kv.publish(head, room)
                chunks.append(chunk)
        return chunks

    def _length(self, wanted: int, budget_tokens: int) -> int:
        if 0 < self.long_prefill_tokens < wanted:
            wanted = self.long_prefill_tokens
        return wanted if wanted < budget_tokens else budget_tokens
