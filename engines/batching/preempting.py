"""One token for everybody in line; whoever is last makes room."""

from __future__ import annotations

from collections.abc import Iterable

from ..state import RequestState
from ..step import Chunk, decodes_of
from .base import Planning


def decode_or_preempt(
    step: Planning, decoding: Iterable[RequestState], *, spare_block: bool = False
) -> list[Chunk]:
    """One token for each of `decoding` in order; the last of all that run makes room, the one
    asking if nobody stands behind it.

    decoding: running sequences, in the queue's order. spare_block: a sequence asks for a free block
    even if its last one has room, unless its room was promised.
    """
    left = list(decoding)
    spare = spare_block and not step.admission.guarantees_completion
    done = step.kv.grow(left, spare_block=spare)
    while done < len(left):
        victim = step.queues.running[-1]
        step.preempt([victim])
        if left[-1] is victim:
            left.pop()
        done += step.kv.grow(left[done:], spare_block=spare)
    return decodes_of(left)
