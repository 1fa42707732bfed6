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


def start_requests(
    queues: Queues,
    kv: KVCache,
    admission: Admission,
    *,
    longest_tokens: int,
    has_place: Callable[[RequestState], bool],
) -> tuple[list[RequestState], list[Refusal]]:
    """Start waiting requests, first come first served, until the head of the queue does not fit.

    Each gets KV room for all its known tokens: its prompt, and after a preemption what it had
    generated. longest_tokens: a request that knows more is refused for good.
    has_place: whether the step's budgets have a place for it; charges them if so.
    """
    started: list[RequestState] = []
    refused: list[Refusal] = []
    while queues.waiting:
        head = queues.waiting[0]
        if head.known_tokens > longest_tokens:
            reason = f"{head.known_tokens} tokens exceed the limit of {longest_tokens}"
            refused.append(Refusal(queues.waiting.popleft(), reason))
            continue
        verdict = admission.admit(head, queues.running, kv)
        if verdict is Verdict.NEVER:
            reason = f"the KV cache can never hold its {head.full_tokens} tokens"
            refused.append(Refusal(queues.waiting.popleft(), reason))
            continue
        if verdict is Verdict.LATER or not has_place(head):
            break
        queues.start(head)
        if not kv.extend(head, head.known_tokens):
            raise RuntimeError(f"no KV room for {head.request_id}, which was admitted")
        started.append(head)
    return started, refused


def context_chunk(request: RequestState, budget: Budget) -> Chunk:
    """As much of a context as the budget allows; length 0 keeps its place and computes none."""
    length = min(request.uncomputed_tokens, budget.tokens)
    budget.charge(length)
    return Chunk(request, start=request.computed_tokens, length=length)


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
