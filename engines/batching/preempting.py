"""One token for everybody in line; whoever is last makes room."""

from __future__ import annotations

from collections.abc import Sequence

from ..state import RequestState, last_in_line
from ..step import Chunk
from .base import Planning


def decode_or_preempt(step: Planning, decoding: Sequence[RequestState]) -> list[Chunk]:
    """One token for each of `decoding` in order; the last of all that run makes room.

    decoding: running sequences. A request with nobody behind it makes room itself; one of lower
    priority makes room wherever it stands, even after its turn.
    """
    kv, running = step.kv, step.queues.running
    gone: set[RequestState] = set()
    decodes: list[Chunk] = []
    # A copy: those who make room leave the queue.
    for request in tuple(decoding):
        while request not in gone and not kv.extend(request, request.known_tokens):
            victim = last_in_line(running)
            gone.add(victim)
            step.preempt([victim])
        if request not in gone:
            decodes.append(Chunk(request, request.computed_tokens, 1))
    return [chunk for chunk in decodes if chunk.request not in gone] if gone else decodes
