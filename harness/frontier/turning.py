"""The batch size from which 4 bits win no more: measured, and by the roofline.

At batch 1 a decode step is bound by reading the weights, so fewer bytes are faster. Operations grow
with the batch and bytes hardly do; from where the operations take longer, fewer bytes are worth
nothing and widening the weights costs (Williams, Waterman and Patterson, Roofline, CACM 2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from ...reports.frontier_model import Crossing
from ..comparison.quantities import SAME
from .batch_steps import StepsPass

# Batch sizes beyond this are of no server.
_LARGEST_PREDICTED = 4096
# Who is faster by no more than this does not win: it is the same (see `comparison/quantities.py`).
WINS = 1 + SAME


@dataclass(frozen=True)
class Line:
    """A quantity that grows evenly with the batch size."""

    at_zero: float
    each: float

    def at(self, batch: float) -> float:
        return self.at_zero + batch * self.each

    @classmethod
    def through(cls, batches: Sequence[int], values: Sequence[float]) -> Line:
        """The line through the first and the last point."""
        if len(batches) < 2:
            return cls(values[0], 0.0)
        each = (values[-1] - values[0]) / (batches[-1] - batches[0])
        return cls(values[0] - batches[0] * each, each)


@dataclass(frozen=True)
class Curve:
    """A method's steps: the shortest of all passes, for each case.

    decode_s, floor_s: for each of `batches`. speed_up: over the first method, in turns; the
    geometric mean of all passes. spreads: how far two passes differ in it, as a share, so 0 of the
    first method: how fast the machine was in each of its passes is no part of steps taken in turns.
    bytes_moved, flops: of a decode step. prefill_s, prefill_speed_up, prefill_flops: of the prompt;
    None without. flops_per_s: the machine's, in the arithmetic that the method computes in.
    """

    batches: tuple[int, ...]
    decode_s: tuple[float, ...]
    floor_s: tuple[float, ...]
    speed_up: tuple[float, ...]
    spreads: tuple[float, ...]
    bytes_moved: Line
    flops: Line
    prefill_s: float | None
    prefill_speed_up: float | None
    prefill_flops: float | None
    flops_per_s: float

    @property
    def reached_bytes_per_s(self) -> float:
        """Bandwidth at the smallest batch."""
        return self.bytes_moved.at(self.batches[0]) / self.decode_s[0]

    @property
    def reached_flops_per_s(self) -> float | None:
        """Operations a second on the prompt."""
        if self.prefill_s is None or self.prefill_flops is None:
            return None
        return self.prefill_flops / self.prefill_s

    def step_s(self, batch: float, bytes_per_s: float, flops_per_s: float) -> float:
        """A decode step by a roofline with these rates."""
        return max(self.bytes_moved.at(batch) / bytes_per_s, self.flops.at(batch) / flops_per_s)


def curve(passes: Sequence[StepsPass]) -> Curve:
    """All passes of one method as one. The shortest step counts: what disturbs a machine makes it
    slower, and never faster."""
    decodes = [[step for step in one.steps if step.phase == "decode"] for one in passes]
    prompts = [step for one in passes for step in one.steps if step.phase == "prefill"]
    first = decodes[0]
    batches = tuple(step.size for step in first)
    shortest = [[steps[at].best_s for steps in decodes] for at in range(len(batches))]
    floors = [min(steps[at].floor_s for steps in decodes) for at in range(len(batches))]
    ratios = [[steps[at].speed_up for steps in decodes] for at in range(len(batches))]
    return Curve(
        batches,
        tuple(min(times) for times in shortest),
        tuple(floors),
        tuple(geometric_mean(one) for one in ratios),
        tuple(max(one) / min(one) - 1 for one in ratios),
        Line.through(batches, [step.bytes_moved for step in first]),
        Line.through(batches, [step.flops for step in first]),
        min((step.best_s for step in prompts), default=None),
        geometric_mean([step.speed_up for step in prompts]) if prompts else None,
        prompts[0].flops if prompts else None,
        max(one.flops_per_s for one in passes),
    )


def speed_ups(method: Curve, other: Curve) -> tuple[float, ...]:
    """How many times as fast the method is, for each batch size: each over the first, which both
    took turns with."""
    return tuple(
        ours / theirs for ours, theirs in zip(method.speed_up, other.speed_up, strict=True)
    )


def crossing(batches: Sequence[int], speed_ups: Sequence[float]) -> Crossing:
    """Where the method stops winning for good, by the measured sizes.

    Between two of them: on the straight line through both, of logarithms.
    """
    wins = [at for at, one in enumerate(speed_ups) if one > WINS]
    if not wins:
        return Crossing("never")
    first, last = wins[0], wins[-1]
    lost = tuple(
        batch for at, batch in enumerate(batches) if first < at < last and speed_ups[at] <= WINS
    )
    if last == len(batches) - 1:
        return Crossing("beyond", batches[-1], batches[first], lost)
    before, after = math.log(speed_ups[last] / WINS), math.log(speed_ups[last + 1] / WINS)
    step = math.log(batches[last + 1] / batches[last])
    batch = batches[last] * math.exp(step * before / (before - after))
    return Crossing("at", batch, batches[first], lost)


def predicted(speed_up: Callable[[float], float]) -> Crossing:
    """The same of a formula, from batch 1 on."""
    if speed_up(1) <= WINS:
        return Crossing("never")
    low, high = 1.0, 2.0
    while speed_up(high) > WINS:
        low, high = high, 2 * high
        if high > _LARGEST_PREDICTED:
            return Crossing("beyond", float(_LARGEST_PREDICTED), 1.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if speed_up(middle) > WINS else (low, middle)
    return Crossing("at", high, 1.0)


def floor_crossing(method: Curve, other: Curve, bytes_per_s: float) -> Crossing:
    """By the machine's own rates: one bandwidth for both, and for each its own arithmetic."""
    return predicted(
        lambda batch: (
            other.step_s(batch, bytes_per_s, other.flops_per_s)
            / method.step_s(batch, bytes_per_s, method.flops_per_s)
        )
    )


def reached_crossing(method: Curve, other: Curve) -> Crossing | None:
    """By the bandwidth and the rate of operations that each reached itself; None without a
    prompt."""
    ours, theirs = method.reached_flops_per_s, other.reached_flops_per_s
    if ours is None or theirs is None:
        return None
    return predicted(
        lambda batch: (
            other.step_s(batch, other.reached_bytes_per_s, theirs)
            / method.step_s(batch, method.reached_bytes_per_s, ours)
        )
    )
