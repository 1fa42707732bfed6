"""In-flight batching: first who may hold memory, then whose tokens fit into this step.

Source: TensorRT-LLM's capacity scheduler (GUARANTEED_NO_EVICT with `reserve` admission,
MAX_UTILIZATION with `optimistic`) and its micro-batch scheduler. The first only counts room, which
is taken with a context's first chunk: one that gets no tokens in a step has not begun. In the
packed input, contexts precede generation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..state import RequestState, split_running
from ..step import Budget, Chunk, StepPlan, decodes_of
from .base import Planning

Chunking = Literal["fcfs", "equal"]


@dataclass(frozen=True)
class InflightBatching:
    """chunked: contexts that do not all fit are split over steps; else the first misfit stops.

    chunking: `fcfs` gives the budget to the oldest context first, `equal` a unit to each in turn
    (EQUAL_PROGRESS). chunk_unit: a chunk that is cut is a multiple of it. long_prefill_tokens:
    the most tokens of one context in a step; 0: no such limit.
    """

    chunked: bool = True
    chunking: Chunking = "fcfs"
    chunk_unit: int = 64
    long_prefill_tokens: int = 0

    def plan(self, step: Planning) -> StepPlan:
        queues, limits = step.queues, step.limits
        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)
        newcomers = _Capacity(step, longest).decide()
        decoding, contexts = split_running(queues.running)
        decodes = decodes_of(decoding)
        if not step.took_places:
            decodes += step.return_swapped(Budget.of(limits, queues.seats))
        if not (contexts or newcomers):
            return step.plan((), decodes)
        if not self.chunked:
            return _in_list_order(step, decodes, newcomers)
        budget = limits.max_num_batched_tokens - len(decodes)
        remaining = [one.uncomputed_tokens for one in contexts]
        remaining += [_new_tokens(step, one) for one in newcomers]
        lengths = self._chunk_lengths(remaining, budget)
        chunks = [
            Chunk(context, context.computed_tokens, length)
            for context, length in zip(contexts, lengths, strict=False)
        ]
        for head, length in zip(newcomers, lengths[len(contexts) :], strict=True):
            if length and not _has_a_piece(step, head):
                break
            chunks += _begin(step, head, length)
        # A context that gets nothing keeps its place.
        return step.plan([chunk for chunk in chunks if chunk.length], decodes)

    def _chunk_lengths(self, remaining: Sequence[int], budget: int) -> list[int]:
        """How much of each context is computed. Contexts that all fit are not cut."""
        most = self.long_prefill_tokens or max(remaining)
        if max(remaining) <= most and sum(remaining) <= budget:
            return list(remaining)
        share = _equal_progress if self.chunking == "equal" else _oldest_first
        return share(remaining, budget, most, self.chunk_unit)


class _Capacity:
    """The capacity stage: who may hold memory in this step, in list order, running or waiting.

    Running and waiting are walked in one order of rank. Optimistic: whoever finds no room has the
    last of the running paused, perhaps itself, and nobody from that rank on is considered again in
    this step. Reserve: the running never run short; the first new one that does not fit ends the
    walk.

    A new one takes its room at once only where others run behind it, who are to see what it leaves.
    """

    def __init__(self, step: Planning, longest_tokens: int) -> None:
        self.step = step
        self.longest_tokens = longest_tokens
        # Whoever is swapped out comes back before anybody new starts.
        self.admits = not step.queues.swapped
        # The place of the last to be paused.
        self.end: tuple[int, int] | None = None
        # Who may begin, behind all that run, with the seats that they take; and the units that they
        # and the running were promised.
        self.newcomers: list[RequestState] = []
        self.seats = 0
        self.promised_units = 0
        # Who was taken off the waiting queue without having begun.
        self.passed: list[RequestState] = []
        # First new blocks of contexts that are being computed.
        self.producing: set[bytes | None] = set()
        if step.kv.names_blocks and step.queues.waiting:
            _, contexts = split_running(step.queues.running)
            self.producing.update(map(step.kv.next_new_block, contexts))

    def decide(self) -> list[RequestState]:
        """Afterwards the running queue is who holds memory, with room for its next tokens. Returns
        those of the waiting queue who may begin beside them, in order."""
        queues, kv = self.step.queues, self.step.kv
        running, waiting = queues.running, queues.waiting
        turn = 0
        while True:
            candidate = self._candidate()
            end = len(running)
            if candidate:
                end = bisect_right(running, candidate.rank, lo=turn, key=_rank)
            turn += kv.grow(running[turn:end])
            if turn < end:
                self._pause_last()
            elif candidate is None:
                break
            elif self._admit(candidate):
                turn += 1
        waiting.extendleft(reversed(self.passed))
        return self.newcomers

    def _candidate(self) -> RequestState | None:
        """The next who is new, if it stands before all that were paused."""
        waiting = self.step.queues.waiting
        if not waiting or not self.admits:
            return None
        return waiting[0] if self.end is None or waiting[0].rank < self.end else None

    def _pause_last(self) -> None:
        victim = self.step.queues.running[-1]
        self.end = victim.rank
        self.step.preempt([victim])

    def _admit(self, head: RequestState) -> bool:
        """The head of the waiting queue may begin, is refused, skipped or stops the admission.
        Whether it runs now.

        With a prefix cache, one whose first new block another context is producing now is left for
        a later step, when it will be found; those behind it are tried.
        """
        step, queues, kv = self.step, self.step.queues, self.step.kv
        if step.refuse_misfit(head, self.longest_tokens):
            return False
        behind = bool(queues.running) and queues.running[-1].rank > head.rank
        pauses = behind and not step.admission.guarantees_completion
        has_seat = queues.seats + self.seats + head.samples <= step.limits.max_num_seqs
        if not has_seat and not pauses:
            self.admits = False
            return False
        first_new = kv.next_new_block(head)
        if first_new is not None and first_new in self.producing:
            self.passed.append(queues.waiting.popleft())
            return False
        if has_seat and self._has_room(head, behind):
            self.producing.add(first_new)
            if behind:
                step.begin(head, head.known_tokens, kv.cached_tokens(head))
            else:
                self._promise(head)
            return behind
        if pauses:
            self._pause_last()
        else:
            self.admits = False
        return False

    def _has_room(self, head: RequestState, behind: bool) -> bool:
        step, running = self.step, self.step.queues.running
        if behind:
            return step.admission.admit(head, head.known_tokens, running, step.kv)
        if not self.newcomers and step.admission.guarantees_completion:
            # Nobody who runs takes more room in this step.
            self.promised_units = step.kv.promised_units(running)
        return step.admission.admit(
            head, head.known_tokens, (), step.kv, promised_units=self.promised_units
        )

    def _promise(self, head: RequestState) -> None:
        step = self.step
        guarantees = step.admission.guarantees_completion
        tokens = head.full_tokens if guarantees else head.known_tokens
        self.promised_units += step.kv.needs(head, tokens)
        self.seats += head.samples
        self.newcomers.append(head)
        self.passed.append(step.queues.waiting.popleft())


def _rank(request: RequestState) -> tuple[int, int]:
    return request.rank


def _new_tokens(step: Planning, head: RequestState) -> int:
    """That the head, which has not begun, would compute."""
    return head.known_tokens - step.kv.cached_tokens(head)


def _has_a_piece(step: Planning, head: RequestState) -> bool:
    """False if what began before it took the only piece of a contiguous cache that it fits. Nobody
    behind it begins either: optimistic admission would pause who had overtaken it."""
    return step.kv.fits(head, head.known_tokens)


def _begin(step: Planning, head: RequestState, length: int) -> list[Chunk]:
    """Its first chunk, and room for all that it knows; none if it gets no tokens."""
    if not length:
        return []
    # Less than before if what began before it took a cached block.
    cached = step.kv.cached_tokens(head)
    step.begin(head, head.known_tokens, cached)
    return [Chunk(head, cached, length)]


def _in_list_order(
    step: Planning, decodes: Sequence[Chunk], newcomers: Sequence[RequestState]
) -> StepPlan:
    """Contexts and generation as they stand in the queue, then who may begin; the first that does
    not fit whole stops. Nobody loses memory by it: who is left out keeps its place."""
    with_room = {chunk.request: chunk for chunk in decodes}
    budget = step.limits.max_num_batched_tokens
    prefills: list[Chunk] = []
    generation: list[Chunk] = []
    for request in step.queues.running:
        decode = with_room.get(request)
        chunk = decode or Chunk(request, request.computed_tokens, request.uncomputed_tokens)
        if chunk.length > budget:
            break
        budget -= chunk.length
        (generation if decode else prefills).append(chunk)
    else:
        for head in newcomers:
            length = _new_tokens(step, head)
            if length > budget or not _has_a_piece(step, head):
                break
            budget -= length
            prefills += _begin(step, head, length)
    return step.plan(prefills, generation)


def _oldest_first(remaining: Sequence[int], budget: int, most: int, unit: int) -> list[int]:
    """FIRST_COME_FIRST_SERVED: a chunk is rounded down to the unit only where it is cut, and what
    that leaves goes to later contexts."""
    lengths: list[int] = []
    for tokens in remaining:
        length = min(tokens, budget, most)
        if length < tokens:
            length -= length % unit
        lengths.append(length)
        budget -= length
    return lengths


def _equal_progress(remaining: Sequence[int], budget: int, most: int, unit: int) -> list[int]:
    """EQUAL_PROGRESS: a unit to each in turn, round and round; one that does not fit is skipped."""
    lengths = [0] * len(remaining)
    progress = True
    while progress:
        progress = False
        for index, tokens in enumerate(remaining):
            grown = min(lengths[index] + unit, tokens)
            more = grown - lengths[index]
            if 0 < more <= budget and grown <= most:
                lengths[index] = grown
                budget -= more
                progress = True
    return lengths
