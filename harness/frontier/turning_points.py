"""Steps by batch size, every method's, and where those of 4 bits stop winning."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from ...reports.frontier_model import FrontierSteps, StepsLine, TurningPoint
from ..bench.engine_turns import CONTEXT_TOKENS
from .batch_steps import PROMPT_TOKENS, BatchSteps
from .methods import PLAIN
from .turning import Curve, crossing, curve, floor_crossing, reached_crossing, speed_ups
from .turning_text import sentence, unsteady, why

FOUR_BITS, EIGHT_BITS = 4, 8
# Passes over the same steps that differ by more than this decide nothing.
STEADY = 0.2


def frontier_steps(steps: BatchSteps, bits: Mapping[str, float | None]) -> FrontierSteps:
    """Every method's steps, and where 4 bits stop winning against more. bits: by method."""
    by_method = {
        method: [one for one in steps.passes if one.method == method]
        for method in dict.fromkeys(one.method for one in steps.passes)
    }
    curves = {method: curve(passes) for method, passes in by_method.items()}
    # The machine's usual bandwidth: on a shared one it comes and goes.
    bytes_per_s = median(one.bytes_per_s for one in steps.passes)
    pairs = [
        (method, other)
        for method in curves
        for other in curves
        if bits[method] == FOUR_BITS and (other == PLAIN or bits[other] == EIGHT_BITS)
    ]
    return FrontierSteps(
        batches=next(iter(curves.values())).batches,
        context_tokens=CONTEXT_TOKENS,
        prompt_tokens=PROMPT_TOKENS,
        bytes_per_s=bytes_per_s,
        rates_source=steps.passes[0].rates_source,
        lines=tuple(
            StepsLine(
                method,
                tuple(one.bytes_per_s for one in by_method[method]),
                found.decode_s,
                found.floor_s,
                found.speed_up,
                found.prefill_s,
                found.prefill_speed_up,
                found.flops_per_s,
                found.spreads,
            )
            for method, found in curves.items()
        ),
        turning_points=tuple(
            _turning_point((method, curves[method]), (other, curves[other]), bytes_per_s)
            for method, other in pairs
        ),
    )


def _turning_point(
    method: tuple[str, Curve], other: tuple[str, Curve], bytes_per_s: float
) -> TurningPoint:
    (name, ours), (against, theirs) = method, other
    ratios = speed_ups(ours, theirs)
    measured = crossing(ours.batches, ratios)
    floor = floor_crossing(ours, theirs, bytes_per_s)
    reached = reached_crossing(ours, theirs)
    return TurningPoint(
        name,
        against,
        ratios,
        measured,
        floor,
        reached,
        sentence(name, against, ours.batches, ratios, measured) + unsteady(ours, theirs, STEADY),
        why(method, other, floor, reached, bytes_per_s),
    )


def batch_1(steps: FrontierSteps | None) -> dict[str, float]:
    """Speed-ups over the unquantised model at batch 1, of methods whose passes agree there."""
    if steps is None or steps.batches[0] != 1:
        return {}
    first = {line.method: line.speed_ups[0] for line in steps.lines if line.spreads[0] <= STEADY}
    if PLAIN not in first:
        return {}
    return {method: speed_up / first[PLAIN] for method, speed_up in first.items()}
