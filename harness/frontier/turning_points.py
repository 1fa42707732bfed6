"""Steps by batch size, every method's, and where those of 4 bits stop winning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean, median

from ...reports.frontier_model import FrontierSteps, StepsLine, TurningPoint
from ..bench.cases import CONTEXT_TOKENS
from .batch_steps import PROMPT_TOKENS, BatchSteps, StepsPass
from .methods import PLAIN
from .turning import Curve, crossing, curve, floor_crossing, reached_crossing, speed_ups
from .turning_text import sentence, unsteady, why

FOUR_BITS, EIGHT_BITS = 4, 8
# Passes over the same steps that differ by more than this decide nothing.
STEADY = 0.2


@dataclass(frozen=True)
class AtBatch1:
    """How many times as fast as the unquantised model's a decode step of one sequence is: the mean
    of all passes, and the lowest and the highest of them."""

    speed_up: float
    lowest: float
    highest: float


def frontier_steps(steps: BatchSteps, bits: Mapping[str, float | None]) -> FrontierSteps:
    """Every method's steps, and where 4 bits stop winning against more. bits: by method."""
    by_method = _by_method(steps)
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
    doubt = unsteady(ours, theirs, STEADY)
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
        sentence(name, against, ours.batches, ratios, measured) + doubt,
        why(method, other, floor, reached, bytes_per_s),
        steady=not doubt,
    )


def batch_1(steps: BatchSteps | None) -> dict[str, AtBatch1]:
    """Beside the unquantised model, of methods whose passes agree there."""
    curves = {method: curve(passes) for method, passes in _by_method(steps).items()}
    first = {
        method: [pass_.steps[0].speed_up for pass_ in passes]
        for method, passes in _by_method(steps).items()
        if curves[method].batches[0] == 1 and curves[method].spreads[0] <= STEADY
    }
    if PLAIN not in first:
        return {}
    plain = first[PLAIN]
    return {
        method: AtBatch1(
            geometric_mean(ours) / geometric_mean(plain),
            min(ours) / max(plain),
            max(ours) / min(plain),
        )
        for method, ours in first.items()
    }


def _by_method(steps: BatchSteps | None) -> dict[str, list[StepsPass]]:
    found: dict[str, list[StepsPass]] = {}
    for one in steps.passes if steps else ():
        found.setdefault(one.method, []).append(one)
    return found
