"""Static batching: a batch is formed when nothing runs, and ends when its longest member ends.

Source: request-level batching as in FasterTransformer, the baseline of Orca (OSDI 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues
from ..step import Budget, Limits, Refusal, StepPlan
from .base import context_chunk, decode_or_preempt, start_requests


@dataclass(frozen=True)
class StaticBatching:
    """All prompts of a batch are computed before any of its members decodes; nobody joins until
    everybody has left. The token budget cuts the prompts into steps, it does not bound a batch."""

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        refused: list[Refusal] = []
        if not queues.running:
            _, refused = start_requests(
                queues,
                kv,
                admission,
                longest_tokens=limits.max_model_len,
                has_place=lambda _: len(queues.running) < limits.max_num_seqs,
            )
        budget = Budget.of(limits, running=len(queues.running))
        contexts = [request for request in queues.running if not request.is_decoding]
        chunks = [context_chunk(context, budget) for context in contexts]
        if chunks or refused:
            prefills = tuple(chunk for chunk in chunks if chunk.length)
            return StepPlan(prefills=prefills, refused=tuple(refused))
        decodes, preempted = decode_or_preempt(
            queues.running,
            (),
            queues,
            kv,
            has_room=lambda request: kv.extend(request, request.known_tokens),
        )
        return StepPlan(decodes=tuple(decodes), preempted=tuple(preempted))
