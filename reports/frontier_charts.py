"""A frontier's charts: quality and memory over speed, and speed-ups over the batch size."""

from __future__ import annotations

from collections.abc import Sequence

from .format import scale_of
from .frontier_model import Frontier, FrontierMethod, FrontierSteps
from .model import Axis, Chart, Guide, Panel, Series
from .named_points import room_right
from .palette import run_role

_DOMINATED = (
    " A grey method is no choice: another is, beyond doubt, no worse in all three and better in "
    "one."
)


def trade_off(frontier: Frontier) -> Chart | None:
    """Every method that counts as a point; None where no speed was measured."""
    methods = [one for one in frontier.counted if one.output_tokens_per_s]
    if not methods:
        return None
    high = max((one.output_tokens_per_s or 0.0) / (1 - room_right(one.name)) for one in methods)
    sizes = scale_of("bytes", [one.weight_bytes for one in methods])
    panels = [
        Panel(
            Axis("Weights as served", sizes.unit),
            _points(methods, [_scaled(one.weight_bytes, sizes.factor) for one in methods]),
        )
    ]
    if any(one.text_kl_mean is not None for one in methods):
        quality = _points(methods, [one.text_kl_mean for one in methods])
        panels.insert(0, Panel(Axis("KL divergence on the text", "nats a token"), quality))
    return Chart(
        id="trade-off",
        title="Quality, memory and speed",
        reading="Further right is faster, lower is closer to the unquantised model and smaller."
        f"{_DOMINATED if any(one.dominated_by for one in methods) else ''}",
        x=Axis("Output throughput", "tokens/s", high=high),
        panels=tuple(panels),
        note=f"Quality: {frontier.quality_of}." if frontier.quality_of else "",
    )


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _points(
    methods: Sequence[FrontierMethod], values: Sequence[float | None]
) -> tuple[Series, ...]:
    some = " or not decided" if any(one.undecided_by for one in methods) else ""
    kinds = ((f"On the frontier{some}", "on_frontier", False), ("Dominated", "dominated", True))
    found: list[Series] = []
    for name, role, dominated in kinds:
        mine = [
            (one, value)
            for one, value in zip(methods, values, strict=True)
            if bool(one.dominated_by) == dominated and value is not None
        ]
        if mine:
            found.append(
                Series(
                    name,
                    role,
                    "named",
                    x=tuple(one.output_tokens_per_s or 0.0 for one, _ in mine),
                    y=tuple(value for _, value in mine),
                    labels=tuple(one.name for one, _ in mine),
                )
            )
    return tuple(found)


def speed_up_chart(frontier: Frontier, steps: FrontierSteps) -> Chart | None:
    """Decode steps of every method against the baseline's; None with nothing to compare."""
    base = next((line for line in steps.lines if line.method == frontier.baseline), None)
    others = [line for line in steps.lines if line.method != frontier.baseline]
    if base is None or not others:
        return None
    names = [one.name for one in frontier.methods]
    batches = tuple(float(one) for one in steps.batches)
    series = tuple(
        Series(
            line.method,
            run_role(names.index(line.method)),
            "line",
            x=batches,
            y=tuple(own / ours for own, ours in zip(line.speed_ups, base.speed_ups, strict=True)),
        )
        for line in others
    )
    return Chart(
        id="speed-up",
        title="Speed-up of a decode step over the batch size",
        reading=f"Above the dashed line a method is faster than {frontier.baseline}; where its "
        "line falls below, it stops winning.",
        x=Axis("Batch size", "sequences", log=len(batches) > 1),
        panels=(
            Panel(
                Axis("Speed-up", "×"),
                series,
                (Guide("y", 1.0, f"as fast as {frontier.baseline}"),),
            ),
        ),
        note=f"Contexts of {steps.context_tokens} tokens; steps that both took in turns, the "
        "median of two passes.",
    )
