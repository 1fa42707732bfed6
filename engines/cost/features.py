"""What a step's measured time is explained by: a few quantities of its work, for each part.

A linear map's time against the tokens of a step is no straight line on a CPU: a few tokens are
bound by reading the weights, many by arithmetic, and kernels change in between. It is therefore
piecewise linear between knots, with a slope of its own, never negative, in each piece.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .work import StepWork

# Where a piece may begin, in tokens of a step. `fit` keeps those its data can tell apart.
KNOTS = (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)

# A part's explanations besides the constant; `tokens` stands for the pieces.
PART_FEATURES: dict[str, tuple[str, ...]] = {
    "schedule_s": ("prefill_chunks", "decode_tokens"),
    "prepare_s": ("prefill_tokens", "prefill_chunks", "decode_tokens", "decode_context_tokens"),
    "attention_s": (
        "prefill_chunks",
        "prefill_tokens",
        "prefill_pairs",
        "prefill_context_tokens",
        "decode_tokens",
        "decode_context_tokens",
    ),
    "linear_s": ("tokens", "sampled_rows"),
    "sample_s": ("sampled_rows",),
    "host_s": ("prefill_chunks", "decode_tokens"),
}
# An accelerator's attention is not told apart: its whole pass is one part, wait included.
DEVICE_PART_FEATURES: dict[str, tuple[str, ...]] = {
    **{part: PART_FEATURES[part] for part in ("schedule_s", "prepare_s", "host_s")},
    "linear_s": (
        "tokens",
        "sampled_rows",
        "prefill_chunks",
        "prefill_pairs",
        "prefill_context_tokens",
        "decode_context_tokens",
    ),
}


def explain(work: StepWork, features: Sequence[str], knots: Sequence[int]) -> list[float]:
    """The values that a part's coefficients multiply: 1, then each feature; `tokens` is a value for
    each piece. knots: increasing; the first is 1."""
    values = [1.0]
    for name in features:
        if name == "tokens":
            values.extend(_pieces(work.tokens, knots))
        else:
            values.append(getattr(work, name))
    return values


def labels(features: Sequence[str], knots: Sequence[int]) -> list[str]:
    """What `explain` gives, by name: `tokens>32` is the tokens beyond 32, up to the next knot."""
    names = ["constant"]
    for name in features:
        names.extend([f"tokens>{knot}" for knot in knots] if name == "tokens" else [name])
    return names


def usable_knots(tokens: Sequence[float], least_steps: int) -> tuple[int, ...]:
    """The knots whose pieces hold at least `least_steps` of these steps each; a piece with fewer is
    joined to the one before it, so that the last, which is open, is held up by data."""
    chosen = [KNOTS[0]]
    for knot, following in zip(KNOTS[1:], (*KNOTS[2:], float("inf")), strict=True):
        inside = sum(knot < count <= following for count in tokens)
        before = sum(chosen[-1] < count <= knot for count in tokens)
        if inside >= least_steps and before >= least_steps:
            chosen.append(knot)
    return tuple(chosen)


def _pieces(tokens: float, knots: Sequence[int]) -> list[float]:
    found = [0.0] * len(knots)
    for index in range(bisect_right(knots, tokens)):
        end = knots[index + 1] if index + 1 < len(knots) else tokens
        found[index] = min(tokens, end) - knots[index]
    return found
