"""The chunks of each request in order, and what the request was before each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .layout import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Chunks:
    """Every chunk of every step, in order of step.

    request: position of its request among those asked about, -1 for another. step: position.
    start, length: tokens. decode: whether its phase is decode.
    """

    request: Ints
    step: Ints
    start: Ints
    length: Ints
    decode: NDArray[np.bool_]


@dataclass(frozen=True)
class OwnChunks:
    """Chunks of the requests asked about, by request, then by step: [chunks] each.

    place: ascending; see `position`.
    again: the share of its tokens that had been computed before a preemption threw them away.
    prompt_share: its part of the step's prefill tokens; 0 for a decode.
    first: nothing of the request was computed before it.
    lost_from_s: from when on, before it, the request was preempted or still to be computed again;
    inf if never, -inf if all the time since its chunk before.
    """

    place: Ints
    request: Ints
    step: Ints
    decode: NDArray[np.bool_]
    again: Floats
    prompt_share: Floats
    first: NDArray[np.bool_]
    lost_from_s: Floats

    def __len__(self) -> int:
        return len(self.request)

    def position(self, request: Ints, step: Ints, steps: int) -> Ints:
        """Where the first chunk of `request` in `step` or after it stands, or would."""
        return np.searchsorted(self.place, _place(request, step, steps))


def _place(request: Ints, step: Ints, steps: int) -> Ints:
    """A number that orders by request, then by step (0 to `steps`)."""
    return request * (steps + 1) + step


def own_chunks(
    chunks: Chunks,
    *,
    lost_request: Ints,
    lost_step: Ints,
    step_start_s: Floats,
    prefill_tokens: Ints,
) -> OwnChunks:
    """Sort the chunks and say what came before each.

    chunks: at most one of a request in a step. lost_request, lost_step: each preemption's request,
    -1 for one not asked about, and step.
    """
    place = _place(chunks.request, chunks.step, len(step_start_s))
    order = np.argsort(place, kind="stable")
    request, step = chunks.request[order], chunks.step[order]
    start, length, decode = chunks.start[order], chunks.length[order], chunks.decode[order]
    first = np.append(True, request[1:] != request[:-1])[: len(request)]
    end = start + length
    computed = _computed_before(request, end, first)
    again = np.clip(np.minimum(end, computed) - start, 0, None)
    # The chunk before it did not yet reach what had been computed once.
    behind = ~first & (np.append(0, end[:-1])[: len(end)] < computed)
    found = OwnChunks(
        place=place[order],
        request=request,
        step=step,
        decode=decode,
        again=again / np.maximum(length, 1),
        prompt_share=np.where(decode, 0.0, length / np.maximum(prefill_tokens[step], 1)),
        first=first,
        lost_from_s=np.where(behind, -np.inf, np.inf),
    )
    asked = lost_request >= 0
    return _with_preemptions(found, lost_request[asked], lost_step[asked], step_start_s)


def _computed_before(request: Ints, end: Ints, first: NDArray[np.bool_]) -> Ints:
    """The furthest token of its request computed before each chunk: 0 for the first."""
    if len(end) == 0:
        return end
    # A running maximum that a later request's first chunk always exceeds.
    stride = int(end.max()) + 1
    furthest = np.maximum.accumulate(request * stride + end) - request * stride
    return np.where(first, 0, np.append(0, furthest[:-1]))


def _with_preemptions(
    chunks: OwnChunks, request: Ints, step: Ints, step_start_s: Floats
) -> OwnChunks:
    """The first chunk after a preemption has been lost since the preempting step began."""
    steps = len(step_start_s)
    after = chunks.position(request, step, steps)
    inside = after < len(chunks)
    after, request, step = after[inside], request[inside], step[inside]
    same = chunks.request[after] == request
    after, step = after[same], step[same]
    lost_from_s = chunks.lost_from_s.copy()
    np.minimum.at(lost_from_s, after, step_start_s[step])
    return replace(chunks, lost_from_s=lost_from_s)
