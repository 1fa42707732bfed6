"""Separate batching: a step computes prompts or next tokens, never both.

Source: vLLM's original default scheduler (v0). vLLM v1 replaced it by a mixed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from ..step import Budget, Chunk, StepPlan
from .base import Planning
from .preempting import decode_with_spare


@dataclass(frozen=True)
class SeparateBatching:
    """Prompts first; a step that starts a prompt decodes nothing.

    delay_factor: wait this many prompt-step latencies for more prompts to gather (0: never wait).
    """

    delay_factor: float = 0.0

    def plan(self, step: Planning) -> StepPlan:
        queues = step.queues
        # Whoever was swapped out comes back before anybody new starts.
        if not queues.swapped and self._may_prefill(step):
            prompts = _start_prompts(step)
            if prompts:
                return step.plan(prompts, ())
        # The samples of one request go on, or make room, together.
        decodes = decode_with_spare(step, queues.running, group_of=attrgetter("request"))
        if not step.took_places:
            decodes += step.return_swapped(Budget.of(step.limits, queues.seats), together=True)
        return step.plan((), decodes)

    def _may_prefill(self, step: Planning) -> bool:
        queues = step.queues
        if not queues.waiting or not queues.running or self.delay_factor == 0:
            return bool(queues.waiting)
        oldest_s = min(request.request.arrival_s for request in queues.waiting)
        return step.now_s - oldest_s > self.delay_factor * queues.last_prompt_step_s


def _start_prompts(step: Planning) -> list[Chunk]:
    """Whole prompts. Running requests count against the sequence budget; their tokens are not
    charged, because they do not share the step."""
    limits = step.limits
    budget = Budget.of(limits, step.queues.seats)
    prompts: list[Chunk] = []
    for head, cached in step.heads(min(limits.max_model_len, limits.max_num_batched_tokens)):
        chunk = step.start(head, cached, head.known_tokens - cached, budget)
        if chunk:
            prompts.append(chunk)
    return prompts
