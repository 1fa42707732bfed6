"""Latencies: how they are distributed, and how they went over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .facts import (
    comes_by_itself,
    counted_as,
    failures,
    floats,
    served,
    slo_s,
    stat,
    steady_span,
    tail_of,
    token_gaps_s,
)
from .format import Scale, count, percent, plural, scale_of, seconds
from .glossary import label_of
from .model import DISTURBANCES, Axis, Chart, Guide, Panel, Run, Series
from .palette import run_role
from .thinning import Floats, ecdf, keep_slowest

MOST_POINTS = 1500
DISTRIBUTIONS = ("ttft", "tpot", "itl", "e2el")
_SAMPLES = {"itl": ("token gap", "token gaps")}  # of the others a request, or a reply, has one
_HALF_OF = {
    "ttft": "Half of the {many} had their first token within {p50}",
    "tpot": "Half of the replies kept a mean pace of {p50} a token or better",
    "itl": "Half of the gaps between tokens were {p50} or shorter",
    "e2el": "Half of the {many} were answered whole within {p50}",
}


@dataclass(frozen=True)
class _Sampled:
    run: Run
    values_s: Floats


def samples_s(run: Run, metric: str) -> Floats:
    """Every sample of a latency, of the requests that were served."""
    frame = served(run)
    values = token_gaps_s(frame) if metric == "itl" else floats(frame, f"{metric}_s")
    return values[np.isfinite(values)]


def distributions(runs: Sequence[Run]) -> tuple[Chart, ...]:
    """An ECDF for each latency that any run has, the runs over each other."""
    charts = (_distribution(runs, metric) for metric in DISTRIBUTIONS)
    return tuple(chart for chart in charts if chart is not None)


def _distribution(runs: Sequence[Run], metric: str) -> Chart | None:
    sampled = [_Sampled(run, samples_s(run, metric)) for run in runs]
    sampled = [one for one in sampled if len(one.values_s)]
    if not sampled:
        return None
    everything = np.concatenate([one.values_s for one in sampled])
    log, scale = _spans_decades(everything), _scale(everything)
    limits = {limit for run in runs if (limit := slo_s(run).get(metric)) is not None}
    return Chart(
        id=f"ecdf-{metric}",
        title=f"{label_of(metric)} distribution",
        reading=_reading(sampled, metric, scale),
        x=Axis(label_of(metric), scale.unit, log=log),
        panels=(
            Panel(
                y=Axis("Share at or below", "%", high=100.0),
                series=tuple(_curve(one, runs, metric, scale, log=log) for one in sampled),
                guides=tuple(
                    Guide("x", scale.factor * limit, f"SLO {seconds(limit)}")
                    for limit in sorted(limits)
                ),
            ),
        ),
        note="" if len(runs) > 1 else f"{plural(len(everything), *_counted(runs[0], metric))}.",
        width="half",
    )


def _counted(run: Run, metric: str) -> tuple[str, str]:
    """What has a sample of the metric, one and many."""
    return _SAMPLES.get(metric) or counted_as(run.result["config"])


def _curve(one: _Sampled, runs: Sequence[Run], metric: str, scale: Scale, *, log: bool) -> Series:
    values_s, share = ecdf(one.values_s)
    x = scale.factor * values_s
    if not log:
        x, share = np.insert(x, 0, 0.0), np.insert(share, 0, 0.0)
    alone = len(runs) == 1
    return Series(
        name=label_of(metric) if alone else one.run.name,
        role="latency" if alone else run_role(list(runs).index(one.run)),
        mark="step",
        x=tuple(x.tolist()),
        y=tuple(share.tolist()),
    )


def _spans_decades(values: Floats) -> bool:
    """Whether a linear axis would squeeze most of the samples into a corner."""
    low, high = float(np.quantile(values, 0.05)), float(values.max())
    return float(values.min()) > 0 and high > 40 * low


def _scale(values_s: Floats) -> Scale:
    return scale_of("s", [float(np.nanmax(values_s, initial=0.0))])


def _reading(sampled: Sequence[_Sampled], metric: str, scale: Scale) -> str:
    """scale: the axis's, which the reader holds the text against."""
    if len(sampled) > 1:
        medians = ", ".join(
            f"{one.run.name} {scale.quantity(stat(one.run, metric, 'p50'))}" for one in sampled
        )
        return (
            f"Further left is faster; where the curves cross, neither run is. Medians: {medians}."
        )
    one = sampled[0]
    p50, many = (
        scale.quantity(stat(one.run, metric, "p50")),
        counted_as(one.run.result["config"])[1],
    )
    half = _HALF_OF[metric].format(p50=p50, many=many)
    tail = tail_of(one.run, metric)
    text = f"{half}; the slowest took {scale.quantity(tail.value_s)}"
    if tail.percentile is not None:
        slowest = f"the slowest {100 - tail.percentile} %"
        text = f"{half}; {slowest} took {scale.quantity(tail.value_s)} or more"
    limit = slo_s(one.run).get(metric)
    if limit is None:
        return f"{text}."
    kept = float(np.mean(one.values_s <= limit))
    of = "" if len(one.run.requests) == len(served(one.run)) else " of those served"
    return f"{text}. {percent(kept)}{of} kept the limit of {seconds(limit)}."


def over_time(run: Run) -> Chart | None:
    """TTFT and E2EL of each request at the time it was due."""
    frame = served(run)
    if frame.empty:
        return None
    due_s, e2el_s = floats(frame, "t_due_s"), floats(frame, "e2el_s")
    shown = frame.iloc[keep_slowest(due_s, e2el_s, MOST_POINTS)]
    span = steady_span(run)
    note = "The shaded stretch is the steady window." if span else ""
    if len(shown) < len(frame):
        every = plural(len(frame), *counted_as(run.result["config"]))
        note = (
            f"{count(len(shown))} of {every} are drawn: an even sample, and "
            f"the slowest of every stretch of time. {note}"
        )
    return Chart(
        id="latency-over-time",
        title="Latency over time",
        reading=_trend(run, frame),
        x=Axis("Time the request was due", "s"),
        panels=tuple(_scatter(shown, metric, slo_s(run)) for metric in ("ttft", "e2el")),
        note=note.strip(),
        span=(*span, "steady window") if span else None,
    )


def _scatter(frame: pd.DataFrame, metric: str, limits: dict[str, float]) -> Panel:
    lost = frame["preemptions"].to_numpy(dtype=np.int64) > 0
    unmarked = "never preempted" if lost.any() else label_of(metric)
    parts = ((unmarked, "latency", ~lost), ("preempted", "preempted", lost))
    limit = limits.get(metric)
    scale = _scale(floats(frame, f"{metric}_s"))
    return Panel(
        y=Axis(label_of(metric), scale.unit),
        series=tuple(
            Series(
                name=name,
                role=role,
                mark="point",
                x=tuple(floats(frame[chosen], "t_due_s").tolist()),
                y=tuple((scale.factor * floats(frame[chosen], f"{metric}_s")).tolist()),
                labels=tuple(_describe(row) for row in frame[chosen].to_dict("records")),
            )
            for name, role, chosen in parts
            if chosen.any()
        ),
        guides=()
        if limit is None
        else (Guide("y", scale.factor * limit, f"SLO {seconds(limit)}"),),
    )


def _describe(row: dict) -> str:
    return f"{row['request_id']}: {row['input_tokens']} in, {row['output_tokens']} out"


def _trend(run: Run, frame: pd.DataFrame) -> str:
    """Compares the halves of the run, in the order in which requests were due."""
    order = np.argsort(floats(frame, "t_due_s"), kind="stable")
    one, many = counted_as(run.result["config"])
    if len(order) < 8:
        return f"Each point is a {one}, at the time it was due."
    before, after = _halves(floats(frame, "ttft_s")[order])
    if after > 1.5 * before:
        verdict = _why_slower(run, after - before, floats(frame, "queue_s")[order])
    elif before > 1.5 * after:
        verdict = "first tokens came sooner as the run went on"
    else:
        verdict = "waits did not drift"
    return (
        f"Median TTFT was {seconds(before)} in the first half of the {many} and "
        f"{seconds(after)} in the second: {verdict}."
    )


def _halves(values: Floats) -> tuple[float, float]:
    first, second = np.array_split(values, 2)
    return float(np.median(first)), float(np.median(second))


def _why_slower(run: Run, by_s: float, queue_s: Floats) -> str:
    """The queue, where it grew by most of what TTFT did and requests came by themselves: a closed
    loop sends no more than is served. Else what else is known of the time, or only what is seen."""
    before, after = _halves(queue_s)
    if comes_by_itself(run) and after - before > 0.5 * by_s:
        return (
            f"the queue grew, from {seconds(before)} to {seconds(after)}: the engine may have been "
            "sent more than it can serve"
        )
    disturbed = [check["detail"] for check in failures(run) if check["id"] in DISTURBANCES]
    slower = "first tokens took longer as the run went on"
    return f"{slower}, and meanwhile {'; '.join(disturbed)}" if disturbed else slower
