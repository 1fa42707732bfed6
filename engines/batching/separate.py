"""Separate batching: a step computes prompts or next tokens, never both.

Source: vLLM's original default scheduler (v0). vLLM v1 replaced it by a mixed one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState, last_group
from ..step import Budget, Chunk, Limits, StepPlan, decodes_of
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
    together.

    At its turn a group asks for as many free blocks as it has sequences, as v0 does, whether or not
    their last blocks have room. What was promised is there without asking.
    """
    kv, running = step.kv, step.queues.running
    asks = kv.grows and not step.admission.guarantees_completion
    turn = 0
    # With a free block for each that is left, nobody can find too few.
    while turn < len(running) and asks and kv.free_units < len(running) - turn:
        size = _samples_from(running, turn)
        if kv.free_units < size:
            step.preempt(last_group(running))
        else:
            kv.grow(running[turn : turn + size])
            turn += size
    rest = running[turn:]
    if kv.grow(rest) < len(rest):
        raise RuntimeError("a running sequence found no KV room, though all that it needs was free")
    return decodes_of(running)


def _samples_from(running: list[RequestState], first: int) -> int:
    """How many sequences from `first` on are samples of one request."""
    end = first + 1
    while end < len(running) and running[end].request is running[first].request:
        end += 1
    return end - first
