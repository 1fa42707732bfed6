"""Separate batching: a step computes prompts or next tokens, never both.

Source: vLLM's original default scheduler (v0). vLLM v1 replaced it by a mixed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, StepPlan
from .base import Planning


@dataclass(frozen=True)
class SeparateBatching:
    """Prompts first; a step that starts a prompt decodes nothing.

    delay_factor: wait this many prompt-step latencies for more prompts to gather (0: never wait).
    """

    delay_factor: float = 0.0

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        step = Planning(queues, kv, admission, limits)
        # Whoever was swapped out comes back before anybody new starts.
        if not queues.swapped and self._may_prefill(queues, now_s):
            prompts = _start_prompts(step)
            if prompts:
                return step.plan(prompts, ())
        decodes = _decode_groups(step)
        if not step.took_places:
            decodes += step.return_swapped(Budget.of(limits, queues.seats), together=True)
        return step.plan((), decodes)

    def _may_prefill(self, queues: Queues, now_s: float) -> bool:
        if not queues.waiting or not queues.running or self.delay_factor == 0:
            return bool(queues.waiting)
        oldest_s = min(request.request.arrival_s for request in queues.waiting)
        return now_s - oldest_s > self.delay_factor * queues.last_prompt_step_s


def _start_prompts(step: Planning) -> list[Chunk]:
    """Whole prompts. Running requests count against the sequence budget; their tokens are not
    charged, because they do not share the step."""
    limits = step.limits
    return step.start_waiting(
        lambda head, cached: head.known_tokens - cached,
        longest_tokens=min(limits.max_model_len, limits.max_num_batched_tokens),
        budget=Budget.of(limits, step.queues.seats),
    )


def _decode_groups(step: Planning) -> list[Chunk]:
    """One token for each running sequence. The samples of one request go on, or make room,
    together."""
    groups = [tuple(group) for _, group in groupby(step.queues.running, _request)]
    decodes: list[Chunk] = []
    turn = 0
    while turn < len(groups):
        group = groups[turn]
        if _append(group, step.kv, step.admission):
            decodes.extend([Chunk(one, one.computed_tokens, 1) for one in group])
            turn += 1
            continue
        victim = _last(groups)
        index = groups.index(victim)
        del groups[index]
        if index < turn:  # had its turn, but matters less than who is asking
            turn -= 1
            decodes = [chunk for chunk in decodes if chunk.request not in victim]
        step.preempt(victim)
    return decodes


def _request(state: RequestState) -> int:
    return id(state.request)


def _last(groups: list[tuple[RequestState, ...]]) -> tuple[RequestState, ...]:
    """The last of the lowest priority."""
    lowest = max(group[0].request.priority for group in groups)
    return next(group for group in reversed(groups) if group[0].request.priority == lowest)


def _append(group: tuple[RequestState, ...], kv: KVCache, admission: Admission) -> bool:
    """Room for one more token each, as v0 asks for it: as many free blocks as there are sequences,
    whether or not their last blocks still have room. What was promised is there without asking."""
    if kv.grows and kv.free_units < len(group) and not admission.guarantees_completion:
        return False
    return all(kv.extend(one, one.known_tokens) for one in group)
