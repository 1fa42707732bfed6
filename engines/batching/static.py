"""Static batching: a batch is formed when nothing runs, and ends when its longest member ends.

Source: request-level batching as in FasterTransformer, the baseline of Orca (OSDI 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues
from ..step import Limits, StepPlan
from .base import decode_or_preempt, start_whole_prompts


@dataclass(frozen=True)
class StaticBatching:
    """One step computes all prompts of a batch; nobody joins until everybody has left."""

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        if not queues.running:
            return start_whole_prompts(queues, kv, admission, limits)
        decodes, preempted = decode_or_preempt(
            queues.running,
            (),
            queues,
            kv,
            has_room=lambda request: kv.extend(request, request.known_tokens),
        )
        return StepPlan(decodes=tuple(decodes), preempted=tuple(preempted))
