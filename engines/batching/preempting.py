"""One token for everybody in line; whoever is last makes room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..state import RequestState, last_group
from ..step import Chunk, decodes_of
from .base import Planning


def decode_or_preempt(step: Planning, decoding: Iterable[RequestState]) -> list[Chunk]:
    """One token for each of `decoding` in order; the last of all that run makes room, the one
    asking if nobody stands behind it.

    decoding: running sequences, in the queue's order.
    """
    left = list(decoding)
    done = step.kv.grow(left)
    while done < len(left):
        victim = step.queues.running[-1]
        step.preempt([victim])
        if left[-1] is victim:
            left.pop()
        done += step.kv.grow(left[done:])
    return decodes_of(left)


def decode_with_spare(
    step: Planning, decoding: Iterable[RequestState], group_of: Callable[[RequestState], object]
) -> list[Chunk]:
    """The same by vLLM v0's rule: who decodes asks for a free block, even if its last has room.

    group_of: sequences in line of which it says the same go on, or make room, together; they ask
    for as many free blocks as they are. What was promised is there without asking.
    """
    kv, running = step.kv, step.queues.running
    asks = kv.grows and not step.admission.guarantees_completion
    left, done = list(decoding), 0
    # With a free block for each that is left, nobody can find too few.
    while asks and kv.free_units < len(left) - done:
        group = _group_from(left, done, group_of)
        if len(group) <= kv.free_units:
            kv.grow(group)
            done += len(group)
            continue
        victims = last_group(running, group_of)
        step.preempt(victims)
        if left[-1] is victims[-1]:
            del left[-len(victims) :]
    if kv.grow(left[done:]) < len(left) - done:
        raise RuntimeError("a running sequence found no KV room, though all that it needs was free")
    return decodes_of(left)


def _group_from(
    line: Sequence[RequestState], first: int, group_of: Callable[[RequestState], object]
) -> Sequence[RequestState]:
    end = first + 1
    while end < len(line) and group_of(line[end]) is group_of(line[first]):
        end += 1
    return line[first:end]
