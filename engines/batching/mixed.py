"""Mixed (in-flight) batching: prompts and next tokens share a step under one token budget.

Source: TensorRT-LLM's in-flight batching with chunked context. Generation takes its tokens
first; contexts share what is left, first come first served, so a long prompt is computed in
chunks beside everybody else's decodes. Sarathi-Serve (Agrawal et al., OSDI 2024) orders a step
the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, Refusal, StepPlan
from .base import context_chunk, decode_or_preempt, start_requests


@dataclass(frozen=True)
class MixedBatching:
    """Decodes, then contexts under way, then new requests.

    chunked: a context may be split over steps; without it, one that does not fit whole waits.
    """

    chunked: bool = True

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        decodes, preempted = decode_or_preempt(
            [request for request in queues.running if request.is_decoding],
            [request for request in queues.running if not request.is_decoding],
            queues,
            kv,
            has_room=lambda request: kv.extend(request, request.known_tokens),
        )
        budget = Budget.of(limits, running=len(queues.running))
        budget.charge(len(decodes))

        contexts = [request for request in queues.running if not request.is_decoding]
        chunks = [context_chunk(context, budget) for context in contexts]
        refused: list[Refusal] = []
        if not preempted:
            started, refused = self._start(queues, kv, admission, limits, budget)
            chunks += started
        return StepPlan(
            prefills=tuple(chunk for chunk in chunks if chunk.length),
            decodes=tuple(decodes),
            preempted=tuple(preempted),
            refused=tuple(refused),
        )

    def _start(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, budget: Budget
    ) -> tuple[list[Chunk], list[Refusal]]:
        """New requests in order. The first chunk is charged the whole prompt's KV room, so that
        a context once begun is never stopped for memory by another that began with it."""
        chunks: list[Chunk] = []

        def has_place(head: RequestState) -> bool:
            tokens = min(head.known_tokens, budget.tokens) if self.chunked else head.known_tokens
            if tokens < 1 or not budget.take(tokens):
                return False
            chunks.append(Chunk(head, start=0, length=tokens))
            return True

        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)
        _, refused = start_requests(
            queues, kv, admission, longest_tokens=longest, has_place=has_place
        )
        return chunks, refused
