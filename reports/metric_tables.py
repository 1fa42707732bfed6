"""The metrics of a run: how latencies are distributed, and rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .facts import client_error_s, knows_steps, steady_span, tail_of, unit_counted
from .format import ABSENT, Scale, count, listed, number, scale_of
from .glossary import METRICS, label_of
from .model import Run, Table
from .tables import table
from .tails import PERCENTILES, not_carried, samples_needed

# Of what a device does at most: not rates, and in a table of their own.
SHARES_OF_PEAKS = ("mfu", "mbu")
# How each statistic is headed.
STATISTICS = {"mean": "Mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "max": "Max"}
# For a percentile that samples are too few for.
NOT_SHOWN = "—"
_OF_STEPS = (
    " Means of a step's tokens, requests and budget are over time; percentiles count each step "
    "once."
)


def distributions(run: Run) -> Table:
    """Every metric that has percentiles, one unit a row."""
    found = {
        metric: data for metric, data in run.result["metrics"].items() if "p50" in data["stats"]
    }
    has_error = bool(run.result.get("client_error"))
    lacking: set[str] = set()
    rows: list[list[str]] = []
    for metric in _in_order(found):
        stats = found[metric]["stats"]
        values = [stats.get(name) for name in STATISTICS]
        scale = statistics_scale(run, metric)
        beyond = not_carried(tail_of(run, metric).samples)
        lacking |= beyond
        numbers = [
            NOT_SHOWN if name in beyond else scale.number(value)
            for name, value in zip(STATISTICS, values, strict=True)
        ]
        if has_error:
            error_s = client_error_s(run, metric)
            numbers.append(ABSENT if error_s is None else f"± {scale.number(error_s)}")
        rows.append([label_of(metric), scale.unit, count(stats.get("count")), *numbers])
    return table(
        "metrics",
        "Distributions",
        (
            "Metric",
            "Unit",
            "Count",
            *STATISTICS.values(),
            *(["Client ±"] if has_error else []),
        ),
        rows,
        words=("Unit",),
        note="Latencies are of the requests that were served, over the whole run."
        f"{_OF_STEPS if knows_steps(run) else ''}{_too_few(lacking)}",
    )


def statistics_scale(run: Run, metric: str) -> Scale:
    """The unit of all statistics of a metric, wherever they are shown."""
    found = run.result["metrics"][metric]
    return scale_of(found["unit"], [found["stats"].get(name) for name in STATISTICS])


def rates(run: Run) -> Table:
    """Throughput and goodput, over the whole run, and in the steady window where it has one."""
    found = {
        metric: data
        for metric, data in run.result["metrics"].items()
        if "run" in data["stats"] and metric not in SHARES_OF_PEAKS
    }
    stretches = {"window": "Steady window"} if steady_span(run) else {}
    stretches["run"] = "Whole run"
    rows: list[list[str]] = []
    for metric in _in_order(found):
        stats = found[metric]["stats"]
        unit = unit_counted(found[metric]["unit"], run.result["config"])
        scale = scale_of(unit, stats.values())
        cells = [scale.number(stats.get(name)) for name in stretches]
        rows.append([label_of(metric), scale.unit, *cells])
    window = run.result["window"]
    span = f"Window: {number(window['start_s'])} to {number(window['end_s'])} s; "
    return table(
        "rates",
        "Rates",
        ("Metric", "Unit", *stretches.values()),
        rows,
        words=("Unit",),
        note=f"{span if steady_span(run) else 'No steady window: '}{window['method']}.",
    )


def _too_few(lacking: Collection[str]) -> str:
    """Why percentiles are not shown: of which some metric has too few samples."""
    needed = [f"a p{q} takes {samples_needed(q)}" for q in PERCENTILES if f"p{q}" in lacking]
    return f" {NOT_SHOWN}: too few samples, for {listed(needed)}." if needed else ""


def _in_order(found: Mapping[str, Any]) -> list[str]:
    """Known metrics in the glossary's order, then any that this version does not know."""
    known = [term.id for term in METRICS if term.id in found]
    return [*known, *(metric for metric in found if metric not in known)]
