"""What may share one step, and the moves that all batching policies are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, Refusal, StepPlan, Verdict, decodes_of


class BatchingPolicy(Protocol):
    """Chooses the next step. Deterministic: it reads and changes only the queues and the cache of
    `step`, which says the time too, so the same policy drives a real model and a simulator."""

    def plan(self, step: Planning) -> StepPlan:
        """The next step, with KV room made for every token in it. Empty when nothing can run."""
        ...


@dataclass
class Planning:
    """A step while it is being planned; who lost or regained a place in it so far.

    now_s: when it is planned.
    """

    queues: Queues
    kv: KVCache
    admission: Admission
    limits: Limits
    now_s: float
    preempted: list[RequestState] = field(default_factory=list)
    swapped_out: list[RequestState] = field(default_factory=list)
    swapped_in: list[RequestState] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def took_places(self) -> bool:
        """Whether anybody had to make room: then nobody new starts in this step."""
        return bool(self.preempted or self.swapped_out)

    def plan(self, prefills: Sequence[Chunk], decodes: Sequence[Chunk]) -> StepPlan:
        return StepPlan(
            tuple(prefills),
            tuple(decodes),
            tuple(self.preempted),
            tuple(self.swapped_out),
            tuple(self.swapped_in),
            tuple(self.refused),
        )

    def preempt(self, victims: Sequence[RequestState]) -> None:
        """Take the place of one sequence, or of all samples of a request together.

        By swapping if the admission policy asks for it, would take them back and the host has
        room, else by throwing away what was computed. A context that is not done is never swapped:
        it would come back to compute a prompt in a step that had not budgeted for one.
        """
        wanted = self.admission.preemption
        swap = wanted == "swap" or (wanted == "auto" and len(victims) > 1)
        swap = swap and all(victim.is_decoding for victim in victims)
        swap = swap and self.admission.readmit(victims, self.kv) is not Verdict.NEVER
        if swap and self.kv.swap_out(victims):
            for victim in reversed(victims):
                self.queues.swap_out(victim)
            self.swapped_out.extend(victims)
            return
        for victim in reversed(victims):
            self.kv.release(victim)
            self.queues.preempt(victim)
        self.preempted.extend(victims)

    def refuse_misfit(self, head: RequestState, longest_tokens: int) -> bool:
        """Refuse the head of the waiting queue for good if it can never be served."""
        most = self.limits.max_num_seqs
        if head.known_tokens > longest_tokens:
            reason = f"{head.known_tokens} tokens exceed the limit of {longest_tokens}"
        elif head.samples > most:
            reason = f"{head.samples} samples exceed max_num_seqs ({most})"
        elif not self.admission.can_ever_hold(head, self.kv):
            reason = self.admission.why_never(head, self.kv)
        else:
            return False
        self.refused.append(Refusal(self.queues.waiting.popleft(), reason))
        return True

    def heads(self, longest_tokens: int) -> Iterator[tuple[RequestState, int]]:
        """Who may start next, first come first served, with its cached tokens; `start` starts it.

        Whoever can never be served is refused on the way, one that knows more than `longest_tokens`
        among them. A head that is left waiting ends the walk: nobody passes it.
        """
        waiting = self.queues.waiting
        while waiting:
            head = waiting[0]
            if self.refuse_misfit(head, longest_tokens):
                continue
            yield head, self.kv.cached_tokens(head)
            if waiting and waiting[0] is head:
                return

    def start(
        self,
        head: RequestState,
        cached: int,
        length: int,
        budget: Budget,
        *,
        room_tokens: int | None = None,
        asked_tokens: int | None = None,
    ) -> Chunk | None:
        """Start the head of the waiting queue if it fits; else None, and it is left waiting.

        length: how many tokens after its cached ones it may compute in this step; 0 ends the walk.
        The tokens and the head's samples are taken from `budget`. room_tokens: how many of its
        tokens get room. asked_tokens: how many must find room for it to start. Each None: all that
        it knows.
        """
        if length < 1 or not budget.has(length, head.samples):
            return None
        known = head.known_tokens
        asked = known if asked_tokens is None else asked_tokens
        if not self.admission.admit(head, asked, self.queues.running, self.kv):
            return None
        budget.take(length, head.samples)
        self.begin(head, known if room_tokens is None else room_tokens, cached)
        return Chunk(head, cached, length)

    def begin(self, head: RequestState, room: int, cached: int) -> None:
        """A waiting request starts, with what the prefix cache has of it computed already."""
        self.queues.start(head)
        if not self.kv.extend(head, room):
            raise RuntimeError(f"no KV room for {head.request_id}, which was admitted")
        head.computed_tokens = cached
        head.hit_tokens = max(0, cached - head.most_computed_tokens)

    def return_swapped(self, budget: Budget, *, together: bool = False) -> list[Chunk]:
        """Bring back who was swapped out, in order, until one misfits; each decodes at once.

        together: all samples of a request, or none of them.
        """
        queues, kv = self.queues, self.kv
        returned: list[RequestState] = []
        while queues.swapped:
            head = queues.swapped[0]
            group = [head]
            if together:
                group = [one for one in queues.swapped if one.request is head.request]
            # Never NEVER: then `preempt` would have recomputed them.
            if self.admission.readmit(group, kv) is not Verdict.NOW:
                break
            if not budget.has(len(group), len(group)):
                break
            budget.take(len(group), len(group))
            kv.swap_in(group)
            for one in group:
                queues.swap_in(one)
                if not kv.extend(one, one.known_tokens):
                    raise RuntimeError(f"no KV room for {one.request_id}, which came back")
            returned.extend(group)
        self.swapped_in.extend(returned)
        return decodes_of(returned)


def context_chunk(request: RequestState, budget: Budget) -> Chunk:
    """As much of a context as the budget allows; length 0 keeps its place and computes none."""
    length = min(request.uncomputed_tokens, budget.tokens)
    budget.take(length)
    return Chunk(request, request.computed_tokens, length)
