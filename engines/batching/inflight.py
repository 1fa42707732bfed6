"""In-flight batching: first who may hold memory, then whose tokens fit into this step.

Source: TensorRT-LLM's capacity scheduler (GUARANTEED_NO_EVICT with `reserve` admission,
MAX_UTILIZATION with `optimistic`) and its micro-batch scheduler. In the packed input, contexts
precede generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..admission.base import Admission
from ..kv.base import KVCache
from ..state import Queues, RequestState
from ..step import Budget, Chunk, Limits, StepPlan, Verdict
from .base import Planning
from .preempting import decode_or_preempt

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

    def plan(
        self, queues: Queues, kv: KVCache, admission: Admission, limits: Limits, now_s: float
    ) -> StepPlan:
        del now_s  # nothing here waits for the clock
        step = Planning(queues, kv, admission, limits)
        longest = limits.max_model_len
        if not self.chunked:
            longest = min(longest, limits.max_num_batched_tokens)
        decodes = _hold_memory(step, longest)
        generating = {chunk.request for chunk in decodes}
        # Whoever is new is a context, however little the prefix cache has left to compute of it.
        contexts = [request for request in queues.running if request not in generating]
        if not contexts:
            return step.plan((), decodes)
        if not self.chunked:
            return _in_list_order(step, decodes)
        budget = limits.max_num_batched_tokens - len(decodes)
        lengths = self._chunk_lengths([one.uncomputed_tokens for one in contexts], budget)
        return step.plan(
            [
                Chunk(context, context.computed_tokens, length)
                for context, length in zip(contexts, lengths, strict=True)
                if length  # a context that gets nothing keeps its place
            ],
            decodes,
        )

    def _chunk_lengths(self, remaining: Sequence[int], budget: int) -> list[int]:
        """How much of each context is computed. Contexts that all fit are not cut."""
        most = self.long_prefill_tokens or max(remaining)
        if max(remaining) <= most and sum(remaining) <= budget:
            return list(remaining)
        share = _equal_progress if self.chunking == "equal" else _oldest_first
        return share(remaining, budget, most, self.chunk_unit)


def _hold_memory(step: Planning, longest_tokens: int) -> list[Chunk]:
    """The capacity stage: a block more for whoever generates, the whole prompt's for whoever is
    new. Returns this step's decodes; contexts with memory stand in the running queue."""
    queues, limits = step.queues, step.limits
    decodes = decode_or_preempt(
        step, [request for request in queues.running if request.is_decoding]
    )
    if step.took_places:
        return decodes
    decodes += step.return_swapped(Budget.of(limits, queues.seats))
    if not queues.swapped:
        _admit(step, longest_tokens)
    return decodes


def _admit(step: Planning, longest_tokens: int) -> None:
    """New contexts in order, until one misfits.

    With a prefix cache, one whose first new block another context is producing now is left for a
    later step, when it will be found; those behind it are tried.
    """
    queues, kv, admission, limits = step.queues, step.kv, step.admission, step.limits
    if not queues.waiting:
        return
    producing = {
        kv.next_new_block(request) for request in queues.running if not request.is_decoding
    }
    skipped: list[RequestState] = []
    while queues.waiting:
        head = queues.waiting[0]
        if step.refuse_misfit(head, longest_tokens):
            continue
        first_new = kv.next_new_block(head)
        if first_new is not None and first_new in producing:
            skipped.append(queues.waiting.popleft())
            continue
        verdict = admission.admit(head, head.known_tokens, queues.running, kv)
        if verdict is not Verdict.NOW or queues.seats + head.samples > limits.max_num_seqs:
            break
        step.begin(head, head.known_tokens, kv.cached_tokens(head))
        producing.add(first_new)
    queues.waiting.extendleft(reversed(skipped))


def _in_list_order(step: Planning, decodes: Sequence[Chunk]) -> StepPlan:
    """Contexts and generation as they stand in the queue; the first that does not fit whole stops.
    Nobody loses memory by it: who is left out keeps its place."""
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
