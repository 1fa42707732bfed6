"""What the engine did, step by step: tokens by phase, queues, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .facts import floats, step_durations_s
from .format import count, percent, plural, seconds
from .model import Axis, Chart, Panel, Run, Series
from .place import Place, held_series
from .thinning import Floats, even_rows
from .waiting import Waiting, waiting_of

TOKEN_PHASES = ("prefill", "decode")
# Every phase that a step's time is split into, in the order of the bars.
PHASES = (
    *("schedule", "prepare", "attention", "linear"),
    *("sample", "communicate", "swap", "host"),
)
# What the engine does beside the model.
OWN_WORK = ("schedule", "prepare", "host")
MOST_MARKERS = 500


def timeline(place: Place) -> Chart | None:
    """Prefill and decode tokens of each step, above each other: what shared a step."""
    steps = place.run.steps
    if steps.empty:
        return None
    held = place.held({phase: floats(steps, f"{phase}_tokens") for phase in TOKEN_PHASES})
    return Chart(
        id=place.chart_id("timeline"),
        title=place.title("Step timeline"),
        reading=_sharing(place.run),
        x=place.time,
        panels=tuple(
            Panel(
                y=Axis(
                    phase.capitalize(),
                    "tokens a step",
                    high=place.shared_high(f"{phase}_tokens"),
                ),
                series=(
                    replace(
                        held_series(held, phase, phase.capitalize(), phase, "area"),
                        labels=held.labels,
                    ),
                ),
            )
            for phase in TOKEN_PHASES
        ),
        note=held.note,
        width=place.width,
    )


def queues(place: Place) -> Chart | None:
    """Requests that ran and waited in each step, and the steps that preempted."""
    steps = place.run.steps
    if steps.empty:
        return None
    running, waiting = floats(steps, "running"), waiting_of(place.run)
    held = place.held({"running": running, "waiting": waiting.steps})
    series = tuple(
        held_series(held, name, name.capitalize(), name, "step") for name in ("running", "waiting")
    )
    lost = np.flatnonzero(floats(steps, "preempted") > 0)
    if len(lost):
        shown = lost[even_rows(len(lost), MOST_MARKERS)]
        at_s, level = floats(steps, "start_s")[shown], running[shown]
        series += (
            Series("Preemption", "preempted", "point", tuple(at_s.tolist()), tuple(level.tolist())),
        )
    return Chart(
        id=place.chart_id("queues"),
        title=place.title("Batch and queue"),
        reading=_crowding(running, waiting, len(lost)),
        x=place.time,
        panels=(Panel(y=Axis("Requests", high=_shared_queue(place)), series=series),),
        note=f"Waiting: until a step took it up, the mean over a step. {held.note}".strip(),
        width=place.width,
    )


def _shared_queue(place: Place) -> float | None:
    """As `Place.shared_high`, of what ran and waited."""
    highs = [place.shared_high("running") or 0.0]
    highs += [1.05 * float(waiting_of(run).steps.max()) for run in place.among if len(run.steps)]
    return max(highs) or None


def step_time(runs: Sequence[Run], *, same_requests: bool | None = None) -> Chart | None:
    """Where step time went: a stacked bar for each kind of step, or for each of several runs.

    same_requests: whether the several were sent the same, so that their bars are of the same work;
    None: not known.
    """
    runs = [run for run in runs if len(run.steps)]
    if not runs:
        return None
    bars = _by_kind(runs[0]) if len(runs) == 1 else {run.name: _phase_totals_s(run) for run in runs}
    names = tuple(reversed(bars))  # bars are drawn from the bottom up
    used = [phase for phase in PHASES if any(total[phase] > 0 for total in bars.values())]
    return Chart(
        id="step-time",
        title="Where step time went",
        reading=_spent(_phase_totals_s(runs[0]))
        if len(runs) == 1
        else _spent_by_run(bars, same_requests=same_requests),
        x=Axis("Time in steps", "s"),
        panels=(
            Panel(
                y=Axis("Steps" if len(runs) == 1 else "Run", categories=names),
                series=tuple(
                    Series(
                        phase.capitalize(),
                        f"phase_{phase}",
                        "bar",
                        x=tuple(bars[name][phase] for name in names),
                        y=tuple(float(position) for position in range(len(names))),
                    )
                    for phase in used
                ),
            ),
        ),
        note=_device_note(runs),
    )


def _by_kind(run: Run) -> dict[str, dict[str, float]]:
    prefill = floats(run.steps, "prefill_tokens") > 0
    decode = floats(run.steps, "decode_tokens") > 0
    kinds = {
        "Prefill only": prefill & ~decode,
        "Decode only": decode & ~prefill,
        "Both": prefill & decode,
        "Neither": ~(prefill | decode),
    }
    return {
        f"{name}, {plural(int(chosen.sum()), 'step')}": _phase_totals_s(run, chosen)
        for name, chosen in kinds.items()
        if chosen.any()
    }


def _phase_totals_s(run: Run, chosen: np.ndarray | None = None) -> dict[str, float]:
    steps = run.steps if chosen is None else run.steps[chosen]
    return {phase: float(np.nansum(floats(steps, f"{phase}_s"))) for phase in PHASES}


def _spent(totals: dict[str, float]) -> str:
    whole = sum(totals.values())
    if whole <= 0:
        return "No time by phase was recorded."
    largest = max(totals, key=lambda phase: totals[phase])
    outside = sum(totals[phase] for phase in OWN_WORK)
    return (
        f"The {largest} phase took {percent(totals[largest] / whole)} of the step time; the "
        f"engine's own work ({', '.join(OWN_WORK)}) took {percent(outside / whole)}."
    )


def _spent_by_run(bars: dict[str, dict[str, float]], *, same_requests: bool | None) -> str:
    totals = ", ".join(f"{name} {seconds(sum(parts.values()))}" for name, parts in bars.items())
    if same_requests:
        work = "A shorter bar did the same work in less time."
    elif same_requests is None:
        work = "A shorter bar may be of less work: not every run says what it was sent."
    else:
        work = "A shorter bar may be of less work: the runs were not sent the same requests."
    return f"{work} In steps: {totals}."


def _device_note(runs: Sequence[Run]) -> str:
    totals = [_phase_totals_s(run) for run in runs]
    if any(total["linear"] > 0 and total["attention"] == 0 for total in totals):
        of_all = (
            "Without attention: on an accelerator launches return early, so linear holds the whole "
            "forward pass and sample the wait for the device"
        )
    else:
        of_all = (
            "Linear is the rest of the forward pass beside attention; prepare builds the step's "
            "input tensors"
        )
    of_some = {
        "communicate": "communicate is collectives between devices",
        "swap": "swap moves keys and values to or from the host",
    }
    used = (text for phase, text in of_some.items() if any(total[phase] > 0 for total in totals))
    return f"{'; '.join((of_all, *used))}."


def _sharing(run: Run) -> str:
    """What the two panels show: whether prefill and decode share steps, and what it costs."""
    durations_s = step_durations_s(run)
    total_s = float(durations_s.sum())
    prefill = floats(run.steps, "prefill_tokens") > 0
    decode = floats(run.steps, "decode_tokens") > 0
    if total_s <= 0 or not prefill.any():
        return "Every step only decoded."
    both = float(durations_s[prefill & decode].sum()) / total_s
    alone = float(durations_s[prefill & ~decode].sum()) / total_s
    if both == 0:
        return (
            f"Prefill and decode never share a step: for {percent(alone)} of the step time only "
            "prompts were computed and no running request got a token."
        )
    return (
        f"Prefill and decode share {percent(both)} of the step time; for {percent(alone)} only "
        "prompts were computed."
    )


def _crowding(running: Floats, waiting: Waiting, preempting_steps: int) -> str:
    text = f"At most {plural(int(running.max()), 'request')} ran at once and "
    if waiting.most:
        lasted = percent(waiting.share)
        text += f"{count(waiting.most)} waited; some waited for {lasted} of the time"
    else:
        text += "none ever waited"
    if preempting_steps:
        return f"{text}, and {plural(preempting_steps, 'step')} preempted."
    return f"{text}."
