"""Whether the prefix cache knew prompts of a run before the run began.

The same requests, sent a second time, find themselves in the cache and look fast. What a request
may find is what another request of the same run begins with; whatever is found beyond that was
there before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from ...engines.trace import StepTrace
from ...reports.format import count
from ..result import Check

Prompt = tuple[int, ...]

# Of the prompt tokens that were sent. Fewer change no number, and a block can end in generated
# tokens that a later prompt happens to repeat.
WARM_SHARE = 0.01


def check_prefix_cache(steps: Sequence[StepTrace], prompts: Mapping[str, Prompt] | None) -> Check:
    """prompts: by request id, all that were sent; None where that is not known."""
    if prompts is None:
        return _check(0.0, "what was sent is not known: not compared")
    found = _found(steps, prompts)
    warm = warm_tokens(found, prompts)
    sent = sum(map(len, prompts.values()))
    told = f"{count(sum(found.values()))} of {count(sent)} prompt tokens "
    told += "were found in the prefix cache"
    if not warm:
        return _check(0.0, told)
    return _check(
        warm / sent,
        f"{told}, {count(warm)} of them in no other prompt of the run: it was warm before",
    )


def warm_tokens(found: Mapping[str, int], prompts: Mapping[str, Prompt]) -> int:
    """How many tokens were found that no other prompt of the run begins with.

    found: by request, how many of its prompt's first tokens were in the cache. prompts: by request,
    all that were sent.
    """
    begins = sorted(prompts.values()) if any(found.values()) else []
    return sum(_beyond(prompts[name], tokens, begins) for name, tokens in found.items() if tokens)


def _found(steps: Sequence[StepTrace], prompts: Mapping[str, Prompt]) -> dict[str, int]:
    """By request, the tokens that its first hit found; later ones are its own, after a preemption.
    Further samples of a prompt are not looked up."""
    found: dict[str, int] = {}
    for step in steps:
        names = step.chunks.request_ids
        for index, tokens in step.chunks.cached.items():
            if names[index] in prompts:
                found.setdefault(names[index], tokens)
    return found


def _beyond(prompt: Prompt, tokens: int, begins: Sequence[Prompt]) -> int:
    """How many of the first tokens no other prompt begins with.

    begins: every prompt, sorted: whoever shares most with one stands right before or after it.
    """
    at = bisect_left(begins, prompt)
    beside = (*begins[max(at - 1, 0) : at], *begins[at + 1 : at + 2])
    return tokens - max((_shared(prompt[:tokens], other) for other in beside), default=0)


def _shared(prompt: Prompt, other: Prompt) -> int:
    """How many tokens both begin with."""
    if other[: len(prompt)] == prompt:
        return len(prompt)
    differ = (at for at, (a, b) in enumerate(zip(prompt, other, strict=False)) if a != b)
    return next(differ, min(len(prompt), len(other)))


def _check(share: float, detail: str) -> Check:
    return Check(
        id="prefix_cache",
        ok=share <= WARM_SHARE,
        fatal=True,
        value=share,
        limit=WARM_SHARE,
        detail=detail,
    )
