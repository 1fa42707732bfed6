"""Mixed batching with one token budget: no phases, only tokens that are known and not computed.

Source: vLLM v1's scheduler. The running list is walked in order, prompts under way and decodes
alike; then new requests share what the budget has left. KV room is taken chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState, last_in_line
from ..step import Budget, Chunk, Limits, StepPlan
from .base import Planning


@dataclass(frozen=True)
class UnifiedBatching:
    """Each running request catches its computed tokens up with its known ones.

    chunked: a prompt may be split over steps; without it, one that does not fit whole waits.
    long_prefill_tokens: the most tokens of one request in a step; 0: no such limit.
    """

    chunked: bool = True
    long_prefill_tokens: int = 0

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        step = Planning(queues, kv, admission, limits)
        budget = Budget.of(limits, queues.seats)
        decoding = {request for request in queues.running if request.is_decoding}
        chunks = self._catch_up(step, budget)
        if not step.took_places:
            returned = step.return_swapped(budget)
            decoding.update(chunk.request for chunk in returned)
            chunks += returned
        if not step.took_places and not queues.swapped:
            chunks += self._start(step, budget)
        return step.plan(
            [chunk for chunk in chunks if chunk.request not in decoding],
            [chunk for chunk in chunks if chunk.request in decoding],
        )

    def _catch_up(self, step: Planning, budget: Budget) -> list[Chunk]:
        """Running requests in order. The last in line makes room, the one asking if it is the last;
        then the walk ends."""
        queues, kv = step.queues, step.kv
        chunks: dict[RequestState, Chunk] = {}
        gone: set[RequestState] = set()
        # A copy: those who make room leave the queue.
        for request in tuple(queues.running):
            length = self._length(request.uncomputed_tokens, budget.tokens)
            if length == 0 or request in gone:
                continue  # without budget for it, it is skipped and keeps its place
            while not kv.extend(request, request.computed_tokens + length):
                victim = last_in_line(queues.running)
                gone.add(victim)
                step.preempt([victim])
                if victim in chunks:  # had its turn, but matters less
                    budget.take(-chunks.pop(victim).length)
                if victim is request:
                    return list(chunks.values())
            chunks[request] = Chunk(request, request.computed_tokens, length)
            budget.take(length)
        return list(chunks.values())

    def _start(self, step: Planning, budget: Budget) -> list[Chunk]:
        limits = step.limits
        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)

        def chunk_for(head: RequestState, cached: int) -> int:
            wanted = head.known_tokens - cached
            if not self.chunked:
                return wanted if wanted <= budget.tokens else 0
            return self._length(wanted, budget.tokens)

        # A reservation is made for the whole request whatever is computed first.
        return step.start_waiting(
            chunk_for, longest_tokens=longest, budget=budget, whole_room=False
        )

    def _length(self, wanted: int, budget_tokens: int) -> int:
        length = min(wanted, budget_tokens)
        return min(length, self.long_prefill_tokens) if self.long_prefill_tokens else length
