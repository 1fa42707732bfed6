"""Comparisons to report on, with numbers set by hand."""

from __future__ import annotations

from dataclasses import replace

from llmbench.reports.comparison_headline import headline
from llmbench.reports.model import Comparison, ConfigDifference, MetricComparison, Ratio, Run

from .conftest import Load, make_run


def compared_runs(count: int = 2) -> list[Run]:
    """Runs that differ in their engine and batching."""
    made = [
        make_run("paged-awq"),
        make_run("inflight-awq", Load(mixed=True)),
        make_run("static", Load(rate_per_s=6.0), with_quality=False),
    ][:count]
    engines = (("paged", "separate"), ("inflight", "mixed"), ("static", "static"))
    for run, (engine, batching) in zip(made, engines, strict=False):
        run.result["config"].update(engine=engine, batching=batching, stands_for=f"a real {engine}")
    return made


def comparison_of(runs: list[Run]) -> Comparison:
    """Metrics with each verdict there is."""
    others = len(runs) - 1
    better = Ratio(1.12, 1.05, 1.2, "better")
    worse = Ratio(1.31, 1.1, 1.62, "worse")
    unsure = Ratio(0.97, 0.9, 1.04, "inconclusive")
    same = Ratio(1.0, 0.99, 1.01, "same")
    plain = Ratio(2.5)
    comparison = Comparison(
        runs=tuple(run.name for run in runs),
        baseline=runs[0].name,
        differing_config=(
            ConfigDifference("engine", tuple(run.result["config"]["engine"] for run in runs)),
            ConfigDifference("batching", tuple(run.result["config"]["batching"] for run in runs)),
        ),
        same_requests=True,
        warnings=("one run of each, one after the other",),
        rows=(
            MetricComparison(
                "output_throughput",
                "window",
                "tokens/s",
                "higher",
                (143.0, *[160.16] * others),
                (None, *[better] * others),
            ),
            MetricComparison(
                "ttft", "p99", "s", "lower", (0.48, *[0.629] * others), (None, *[worse] * others)
            ),
            MetricComparison(
                "tpot", "p50", "s", "lower", (0.02, *[0.0194] * others), (None, *[unsure] * others)
            ),
            MetricComparison(
                "e2el", "p50", "s", "lower", (1.5, *[1.5] * others), (None, *[same] * others)
            ),
            MetricComparison(
                "batch_tokens",
                "mean",
                "tokens",
                "none",
                (8.0, *[20.0] * others),
                (None, *[plain] * others),
            ),
            MetricComparison(
                "kv",
                "waste_share",
                "share",
                "lower",
                (0.0, *[None] * others),
                (None, *[None] * others),
            ),
        ),
        statement="",
    )
    return with_rows(comparison, comparison.rows)


def with_rows(comparison: Comparison, rows: tuple[MetricComparison, ...]) -> Comparison:
    """These rows, and what they come to."""
    found = headline(comparison.runs, rows, {})
    return replace(comparison, rows=rows, statement=found.statement, undecided=found.undecided)
