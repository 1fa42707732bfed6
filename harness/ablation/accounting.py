"""Where each request's time went, read from the steps it lived through.

Every second from when a request was due to its last token is one of five parts, and they sum:

queue         due to scheduled: no step had computed any of it.
prefill       scheduled to its first token.
interference  of the gaps between its tokens: steps that computed prompts alone, so that it waited,
              and the time that prompts added to steps it decoded in.
preemption    of the same steps, what computing others again took; gaps in which it was itself
              computed again, whole; and steps that decoded others while it stood still.
decode        the rest: the steps that decoded it, as long as they would be without prompts.

What prompts add to a step is its duration less that of a step which only decodes as many requests:
a line through the run's own decode-only steps (least squares), or, with too few of them to draw
one, the prompts' share of the step's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..record import RequestRecord, RequestStatus

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = ("queue", "prefill", "decode", "interference", "preemption")
FEWEST_FOR_A_LINE = 10


@dataclass(frozen=True)
class Account:
    """The parts of each served request's time, in seconds: [requests] each.

    gaps: [requests], tokens after the first. spanned: of them, gaps that a prompt lengthened.
    ttft_s: [requests]. worst_gap: the parts `decode`, `interference` and `preemption` of each gap
    at or beyond the run's p99, in seconds: [gaps, 3].
    """

    queue_s: Floats
    prefill_s: Floats
    decode_s: Floats
    interference_s: Floats
    preemption_s: Floats
    gaps: Ints
    spanned: Ints
    worst_gaps_s: Floats

    @property
    def ttft_s(self) -> Floats:
        return self.queue_s + self.prefill_s

    @property
    def residence_s(self) -> Floats:
        """Scheduled to last token: the time a request takes a place in the engine."""
        return self.prefill_s + self.decode_s + self.interference_s + self.preemption_s


def account(records: Sequence[RequestRecord], steps: pd.DataFrame) -> Account:
    """The accounts of the served requests, in their order. steps: the table of `summarise.py`."""
    served = [
        one for one in records if one.status is RequestStatus.OK and one.t_scheduled_s is not None
    ]
    counts = np.array([one.output_tokens for one in served], dtype=np.int64)
    gaps = np.maximum(counts - 1, 0)
    owner = np.repeat(np.arange(len(served)), gaps)
    parts, spanned = _gap_parts(served, counts, steps)
    sums = [_by_request(column, owner, len(served)) for column in parts.T]
    scheduled_s = np.array([one.t_scheduled_s for one in served], dtype=np.float64)
    due_s = np.array([one.t_due_s for one in served], dtype=np.float64)
    first_s = np.array([one.t_first_s for one in served], dtype=np.float64)
    lengths_s = parts.sum(axis=1)
    worst = lengths_s >= np.percentile(lengths_s, 99) if len(lengths_s) else lengths_s > 0
    return Account(
        queue_s=scheduled_s - due_s,
        prefill_s=first_s - scheduled_s,
        decode_s=sums[0],
        interference_s=sums[1],
        preemption_s=sums[2],
        gaps=gaps,
        spanned=np.bincount(owner[spanned], minlength=len(served)),
        worst_gaps_s=parts[worst],
    )


def _by_request(values: Floats, owner: Ints, count: int) -> Floats:
    return np.bincount(owner, weights=values, minlength=count).astype(np.float64)


def _gap_parts(
    served: Sequence[RequestRecord], counts: Ints, steps: pd.DataFrame
) -> tuple[Floats, NDArray[np.bool_]]:
    """decode, interference and preemption of every gap, [gaps, 3], and which ones a prompt
    lengthened."""
    times_s = np.concatenate([np.asarray(one.token_times_s) for one in served] or [np.empty(0)])
    ends_s = steps["end_s"].to_numpy(dtype=np.float64)
    # A token is ready before its step ends and after the step before it ended.
    step_of = np.minimum(np.searchsorted(ends_s, times_s, side="left"), len(ends_s) - 1)
    last = np.cumsum(counts) - 1
    follows = np.ones(len(times_s), dtype=bool)
    follows[last - counts + 1] = False
    now = np.flatnonzero(follows)
    gap_s = times_s[now] - times_s[now - 1]
    first, own = step_of[now - 1], step_of[now]

    prompts_alone_s, others_decode_s, added_s = _step_costs(steps)
    again = _share_computed_again(steps)
    waited_s = _between(prompts_alone_s * (1 - again), first, own)
    stood_still_s = _between(others_decode_s + prompts_alone_s * again, first, own)
    again_s = stood_still_s + (added_s * again)[own]
    recomputed = _recomputed(
        served, steps, np.repeat(np.arange(len(served)), counts)[now], first, own
    )
    preemption_s = np.where(recomputed, gap_s, np.minimum(again_s, gap_s))
    interference_s = np.minimum(waited_s + (added_s * (1 - again))[own], gap_s - preemption_s)
    parts = np.column_stack((gap_s - preemption_s - interference_s, interference_s, preemption_s))
    return parts, (interference_s > 0) & ~recomputed


def _step_costs(steps: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Of each step: its duration if it computed prompts alone, if it decoded alone or with
    prompts, and what prompts added to its decodes."""
    start_s, end_s, prompts, decodes, decoded = (
        steps[name].to_numpy(dtype=np.float64)
        for name in ("start_s", "end_s", "prefill_tokens", "decode_tokens", "decode_requests")
    )
    duration_s = end_s - start_s
    alone, mixed = (prompts > 0) & (decodes == 0), (prompts > 0) & (decodes > 0)
    pure = (prompts == 0) & (decodes > 0)
    if pure.sum() >= FEWEST_FOR_A_LINE and len(np.unique(decoded[pure])) > 1:
        slope, level = np.polyfit(decoded[pure], duration_s[pure], 1)
        without_s = np.maximum(level + slope * decoded, 0.0)
        added_s = np.clip(duration_s - without_s, 0.0, duration_s)
    else:
        added_s = duration_s * prompts / np.maximum(prompts + decodes, 1.0)
    return (
        np.where(alone, duration_s, 0.0),
        np.where(decodes > 0, duration_s, 0.0),
        np.where(mixed, added_s, 0.0),
    )


def _share_computed_again(steps: pd.DataFrame) -> Floats:
    """Of each step's prompt tokens, those that a preemption had thrown away."""
    prompts = steps["prefill_tokens"].to_numpy(dtype=np.float64)
    again = steps["recomputed_tokens"].to_numpy(dtype=np.float64)
    return np.minimum(again / np.maximum(prompts, 1.0), 1.0)


def _between(cost_s: Floats, first: Ints, own: Ints) -> Floats:
    """The cost of the steps after the one that gave the last token and before the own one."""
    upto = np.concatenate(([0.0], np.cumsum(cost_s)))
    return np.maximum(upto[own] - upto[first + 1], 0.0)


def _recomputed(
    served: Sequence[RequestRecord], steps: pd.DataFrame, owner: Ints, first: Ints, own: Ints
) -> NDArray[np.bool_]:
    """Whether a request's own prompt was computed in a gap between its tokens: only a preemption
    makes that happen."""
    place = {one.request_id: at for at, one in enumerate(served) if one.preemptions}
    found = np.zeros(len(owner), dtype=bool)
    if not place:
        return found
    chunks = zip(steps["chunk_request_ids"], steps["chunk_phases"], strict=True)
    for step, (names, phases) in enumerate(chunks):
        for name, phase in zip(names, phases, strict=True):
            if phase == "prefill" and name in place:
                mine = slice(*np.searchsorted(owner, [place[name], place[name] + 1]))
                # The first gap that reaches this step; before the first token there is none.
                at = mine.start + int(np.searchsorted(own[mine], step, side="left"))
                if at < mine.stop and first[at] < step:
                    found[at] = True
    return found
