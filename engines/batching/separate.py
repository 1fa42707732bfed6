"""Separate batching: a step computes prompts or next tokens, never both.

Source: vLLM's original default scheduler (v0). vLLM v1 replaced it by a mixed one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, Refusal, StepPlan
from .base import decode_or_preempt, start_requests


@dataclass(frozen=True)
class SeparateBatching:
    """Prompts first; a step that starts a prompt decodes nothing.

    delay_factor: wait this many prompt-step latencies for more prompts to gather (0: never wait).
    """

    delay_factor: float = 0.0

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        refused: tuple[Refusal, ...] = ()
        if self._may_prefill(queues, now_s):
            plan = _start_prompts(queues, kv, admission, limits)
            if plan.prefills:
                return plan
            refused = plan.refused
        decodes, preempted = decode_or_preempt(
            queues.running,
            (),
            queues,
            kv,
            has_room=lambda request: _append(request, kv, admission),
        )
        return StepPlan(decodes=tuple(decodes), preempted=tuple(preempted), refused=refused)

    def _may_prefill(self, queues: Queues, now_s: float) -> bool:
        if not queues.waiting or not queues.running or self.delay_factor == 0:
            return bool(queues.waiting)
        oldest_s = min(request.request.arrival_s for request in queues.waiting)
        return now_s - oldest_s > self.delay_factor * queues.last_prompt_step_s


def _start_prompts(queues: Queues, kv: KVCache, admission: Admission, limits: Limits) -> StepPlan:
    """Whole prompts. Running requests count against the sequence budget; their tokens are not
    charged, because they do not share the step."""
    budget = Budget.of(limits, running=len(queues.running))
    started, refused = start_requests(
        queues,
        kv,
        admission,
        longest_tokens=min(limits.max_model_len, limits.max_num_batched_tokens),
        has_place=lambda head: budget.take(head.known_tokens),
    )
    prompts = tuple(Chunk(request, start=0, length=request.known_tokens) for request in started)
    return StepPlan(prefills=prompts, refused=tuple(refused))


def _append(request: RequestState, kv: KVCache, admission: Admission) -> bool:
    """Room for one more token, as v0 asks for it: a free block must exist at each request's turn,
    whether or not its last block still has room. Room that was promised is there without asking.
    """
    if kv.grows and kv.free_units < 1 and not admission.guarantees_completion:
        return False
    return kv.extend(request, request.known_tokens)
