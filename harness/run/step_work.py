"""The work of steps that ran, read from what they computed: `StepWork` for each, in order."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.cost.work import StepWork
from ...engines.trace import Chunks


def works_of(steps: Sequence[Chunks], window: int | None = None) -> list[StepWork]:
    """steps: the chunks of each, consecutive steps of one run. window: the model's sliding window.

    A decode samples a token, and so does a chunk that completes its context.
    """
    tails = _prompt_tails(steps)
    return [_work(chunks, tails.get(at, 0), window) for at, chunks in enumerate(steps)]


def _work(chunks: Chunks, tails: int, window: int | None) -> StepWork:
    prefills, starts = chunks.prefills, chunks.starts[chunks.prefills :]
    decodes = len(starts)
    # A decode at position p attends p + 1 keys, its own included.
    if window is None:
        attended = sum(starts) + decodes
    else:
        attended = sum([min(start + 1, window) for start in starts])
    prompts = zip(chunks.starts[:prefills], chunks.lengths[:prefills], strict=True)
    return StepWork.of(prompts, decodes, attended, decodes + tails, window=window)


def _prompt_tails(steps: Sequence[Chunks]) -> dict[int, int]:
    """How many contexts each step completed, so that it sampled for them.

    A chunk completes its context where the request's next chunk is a decode, or there is none. A
    request preempted between the two is missed: its next chunk begins the context again.
    """
    last_prefill: dict[str, int] = {}  # of requests that have not decoded since
    tails: dict[int, int] = {}
    for at, chunks in enumerate(steps):
        if last_prefill:
            for name in last_prefill.keys() & set(chunks.request_ids[chunks.prefills :]):
                step = last_prefill.pop(name)
                tails[step] = tails.get(step, 0) + 1
        last_prefill.update(dict.fromkeys(chunks.request_ids[: chunks.prefills], at))
    for step in last_prefill.values():
        tails[step] = tails.get(step, 0) + 1
    return tails
