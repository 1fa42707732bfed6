"""What may share one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, Refusal, StepPlan, Verdict


class BatchingPolicy(Protocol):
    """Chooses the next step. Deterministic: it reads and changes only `queues` and `kv`, and
    time is an argument, so the same policy drives a real model and a simulator."""

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        """The next step, with KV room made for every token in it. Empty when nothing can run."""
        ...


def start_whole_prompts(
    queues: Queues, kv: KVCache, admission: Admission, limits: Limits
) -> StepPlan:
    """Whole prompts, first come first served, until the head of the queue does not fit.

    A recomputed request costs its whole known length: its prompt and what it had generated.
    Running requests count against the sequence budget; their tokens are not charged, because
    they do not share the step.
    """
    budget = Budget.of(limits, running=len(queues.running))
    longest = min(limits.max_model_len, limits.max_num_batched_tokens)
    prefills: list[Chunk] = []
    refused: list[Refusal] = []
    while queues.waiting:
        head = queues.waiting[0]
        tokens = head.known_tokens
        if tokens > longest:
            refused.append(refuse_head(queues, f"{tokens} tokens exceed the step's {longest}"))
            continue
        verdict = admission.admit(head, queues.running, kv)
        if verdict is Verdict.NEVER:
            refused.append(refuse_head(queues, "the KV cache can never hold it"))
            continue
        if verdict is Verdict.LATER or not budget.admits(tokens):
            break
        queues.start(head)
        extend_admitted(kv, head, tokens)
        budget.charge(tokens, seqs=1)
        prefills.append(Chunk(head, start=0, length=tokens))
    return StepPlan(prefills=tuple(prefills), refused=tuple(refused))


def refuse_head(queues: Queues, reason: str) -> Refusal:
    """Take the head of the waiting queue out for good."""
    return Refusal(queues.waiting.popleft(), reason)


def extend_admitted(kv: KVCache, request: RequestState, tokens: int) -> None:
    """Room that admission has promised; its absence is a bug, not a full cache."""
    if not kv.extend(request, tokens):
        raise RuntimeError(f"KV cache has no room for {request.request_id}, which was admitted")


def decode_or_preempt(
    decoding: Sequence[RequestState],
    behind: Sequence[RequestState],
    queues: Queues,
    kv: KVCache,
    has_room: Callable[[RequestState], bool],
) -> tuple[list[Chunk], list[RequestState]]:
    """One token for each of `decoding` in order; whoever is last in line makes room.

    behind: running requests that take no part in this decode but stand behind it in line, so
    that they are preempted first. A request with nobody left behind it preempts itself.
    has_room: makes room for the request's newest token; False if there is none.
    """
    line = [*decoding, *behind]
    turns = len(decoding)
    decodes: list[Chunk] = []
    preempted: list[RequestState] = []
    turn = 0
    while turn < min(turns, len(line)):
        request = line[turn]
        if has_room(request):
            decodes.append(Chunk(request, start=request.computed_tokens, length=1))
            turn += 1
            continue
        victim = line.pop()
        kv.release(victim)
        queues.preempt(victim)
        preempted.append(victim)
    return decodes, preempted
