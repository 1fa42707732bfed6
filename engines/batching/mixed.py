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
from ..step import Budget, Chunk, Limits, Refusal, StepPlan, Verdict
from .base import decode_or_preempt, extend_admitted, refuse_head


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
        chunks = [_chunk(context, budget) for context in contexts]
        refused: list[Refusal] = []
        if not preempted:
            chunks += self._start(queues, kv, admission, limits, budget, refused)
        return StepPlan(
            prefills=tuple(chunk for chunk in chunks if chunk.length),
            decodes=tuple(decodes),
            preempted=tuple(preempted),
            refused=tuple(refused),
        )

    def _start(
        self,
        queues: Queues,
        kv: KVCache,
        admission: Admission,
        limits: Limits,
        budget: Budget,
        refused: list[Refusal],
    ) -> list[Chunk]:
        """New requests in order. The first chunk is charged the whole prompt's KV room, so that
        a context once begun is never stopped for memory by another that began with it."""
        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)
        chunks: list[Chunk] = []
        while queues.waiting:
            head = queues.waiting[0]
            if head.known_tokens > longest:
                reason = f"{head.known_tokens} tokens exceed the limit of {longest}"
                refused.append(refuse_head(queues, reason))
                continue
            verdict = admission.admit(head, queues.running, kv)
            if verdict is Verdict.NEVER:
                refused.append(refuse_head(queues, "the KV cache can never hold it"))
                continue
            first_tokens = 1 if self.chunked else head.known_tokens
            if verdict is Verdict.LATER or not budget.admits(first_tokens):
                break
            queues.start(head)
            extend_admitted(kv, head, head.known_tokens)
            budget.charge(0, seqs=1)
            chunks.append(_chunk(head, budget))
        return chunks


def _chunk(context: RequestState, budget: Budget) -> Chunk:
    """As much of a context as the budget allows; length 0 keeps its place and computes none."""
    length = min(context.uncomputed_tokens, budget.tokens)
    budget.charge(length)
    return Chunk(context, start=context.computed_tokens, length=length)
