"""From stored runs and timed steps to what a frontier's report is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...reports import tables
from ...reports.format import rounded_percent
from ...reports.frontier_model import (
    PERPLEXITY,
    THROUGHPUT,
    Frontier,
    FrontierMethod,
    FrontierSteps,
    MethodPair,
    between,
)
from ...reports.model import Comparison
from ..comparison.admissible import objections
from ..comparison.compare import compare
from ..comparison.observed import Observed
from ..result import Result
from ..tasks.evaluate import Score
from .batch_steps import BatchSteps
from .claims import claims
from .methods import PLAIN, baseline_of, says, weight_bits
from .pairs import method_pairs
from .pareto import dominated_by
from .runs import MethodRun
from .turning_points import batch_1, frontier_steps

# A method's figures that have a ratio to the baseline's.
RATIOS = ("output_tokens_per_s", "ttft_mean_s", "tpot_mean_s", "weight_bytes", "perplexity")


def analyse(
    runs: Sequence[MethodRun],
    steps: BatchSteps | None,
    scores: Mapping[str, Sequence[Score]],
    *,
    command: str,
) -> Frontier:
    """Everything that a report says about these methods. runs: at least one was measured.
    scores: of tasks, by method."""
    methods = [
        replace(_method(one), task_scores=_scores(scores.get(one.method, ()))) for one in runs
    ]
    counted = tuple(one.name for one in methods if one.counts)
    baseline = baseline_of(counted or tuple(one.name for one in methods))
    stored = {one.method: one.run for one in runs if one.run is not None}
    loaded = {name: stored[name].load() for name in _first(baseline, counted)}
    comparison = compare(tuple(loaded.values())) if len(loaded) > 1 else None
    pairs = method_pairs([Observed(run, name) for name, run in loaded.items()], baseline)
    methods = _with_ratios(methods, baseline, pairs)
    methods = [_placed(one, methods, pairs) for one in methods]
    found = frontier_steps(steps, {one.name: one.bits for one in methods}) if steps else None
    measured = [run.result for run in stored.values()]
    return Frontier(
        model=str(measured[0].config["model"]),
        baseline=baseline,
        setting=_setting(measured[0]),
        quality_of=_quality_of(measured),
        methods=tuple(methods),
        claims=claims(methods, batch_1(steps), pairs),
        notes=_notes(methods, measured, comparison, found),
        comparison=comparison,
        steps=found,
        command=command,
        pairs=pairs,
    )


def _first(baseline: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name == baseline] + [n for n in names if n != baseline]


def _placed(
    method: FrontierMethod, methods: Sequence[FrontierMethod], pairs: Sequence[MethodPair]
) -> FrontierMethod:
    if not method.counts:
        return method
    by, undecided = dominated_by(method, methods, pairs)
    return replace(method, dominated_by=by, undecided_by=undecided)


def _method(of: MethodRun) -> FrontierMethod:
    """A run's figures."""
    label = says(of.method)
    if of.run is None:
        return FrontierMethod(of.method, label, None, reason=f"not measured: {of.failure}")
    result = of.run.result
    against = objections(of.run)
    assert result.memory is not None, "methods are compared in process"
    found = FrontierMethod(
        of.method,
        label,
        weight_bits(of.method, str(result.config.get("dtype", "bfloat16"))),
        emulated=bool(result.emulated),
        reason=f"not valid: {against[0]}" if against else "",
        disturbed=result.validity.disturbed,
        weight_bytes=float(result.memory.weight_bytes),
        output_tokens_per_s=result.stat("output_throughput", "window"),
        ttft_mean_s=result.stat("ttft", "mean"),
        tpot_mean_s=result.stat("tpot", "mean"),
        batch_requests=result.stat("batch_requests", "mean"),
    )
    quality = result.quality
    if quality is None:
        return found
    # The unquantised model is its own reference; over a quantised KV cache it is not.
    itself = of.method == PLAIN and quality.text_kl_mean is None and quality.perplexity is not None
    return replace(
        found,
        text_tokens=quality.perplexity_tokens,
        perplexity=quality.perplexity,
        text_kl_mean=0.0 if itself else quality.text_kl_mean,
        text_kl_p99=0.0 if itself else quality.text_kl_p99,
        text_top1_agreement=1.0 if itself else quality.text_top1_agreement,
        kl_mean=0.0 if itself else quality.kl_mean,
        top1_agreement=1.0 if itself else quality.top1_agreement,
    )


def _scores(scores: Sequence[Score]) -> tuple[tuple[str, str, float, float | None], ...]:
    return tuple((one.task, one.metric, one.value, one.stderr) for one in scores)


def _with_ratios(
    methods: Sequence[FrontierMethod], baseline: str, pairs: Sequence[MethodPair]
) -> list[FrontierMethod]:
    base = next(one for one in methods if one.name == baseline)
    return [
        replace(
            one,
            throughput_ratio=between(pairs, one.name, baseline).get(THROUGHPUT),
            perplexity_ratio=between(pairs, one.name, baseline).get(PERPLEXITY),
            ratios={
                name: ours / theirs
                for name in RATIOS
                if (ours := getattr(one, name)) is not None and (theirs := getattr(base, name))
            },
        )
        for one in methods
    ]


def _setting(result: Result) -> tuple[str, ...]:
    config = result.config
    label = result.label.partition(" + ")[0]
    return (
        f"{config['model']} in {config.get('dtype')} on {config.get('device')}",
        f"engine {label}",
        f"{result.workload.num_requests} requests of {result.workload.name}, seed "
        f"{config.get('seed')}",
    )


def _quality_of(results: Sequence[Result]) -> str:
    measured = [one.quality for one in results if one.quality and one.quality.perplexity]
    return tables.quality_text(measured[0].model_dump()) if measured else ""


def _notes(
    methods: Sequence[FrontierMethod],
    results: Sequence[Result],
    comparison: Comparison | None,
    steps: FrontierSteps | None,
) -> tuple[str, ...]:
    """What the numbers cannot carry."""
    notes = [f"{one.name}: {one.reason}" for one in methods if not one.counts]
    if emulated := [one.name for one in methods if one.emulated]:
        notes.append(
            f"{', '.join(emulated)}: emulated, for this hardware has no such arithmetic; the "
            "quality is the method's, the speed is not, and decides neither a claim nor who is "
            "dominated"
        )
    if disturbed := [one.name for one in methods if one.disturbed]:
        notes.append(
            f"{', '.join(disturbed)}: other work had processors, or they were held back, while "
            "this was measured: no claim about the run's speed is decided"
        )
    if caveats := dict.fromkeys(one.quality.caveat for one in results if one.quality):
        notes.extend(caveat for caveat in caveats if caveat)
    if not any(one.text_kl_mean is not None for one in methods):
        notes.append("no quality was measured, so the frontier is of speed and memory alone")
    if math.isfinite(float(results[0].config.get("request_rate") or math.inf)):
        notes.append(
            f"requests arrive at {results[0].config['request_rate']:g} a second, and no method "
            "serves more than arrives: where throughputs agree, compare latencies"
        )
    if comparison is not None:
        notes.extend(_together(comparison.warnings, comparison.runs))
    if steps is not None:
        spread = max(max(line.spreads) for line in steps.lines)
        notes.append(
            "speed-ups over the first method are of steps taken in turns, and two passes differ by "
            f"up to {rounded_percent(spread)}; times are the shortest of both"
        )
    return tuple(dict.fromkeys(notes))


def _together(warnings: Sequence[str], names: Sequence[str]) -> list[str]:
    """What is said of several methods alike is said once."""
    whose: dict[str, list[str]] = {}
    for warning in warnings:
        name, colon, said = warning.partition(": ")
        ours = bool(colon) and name in names
        whose.setdefault(said if ours else warning, []).extend([name] if ours else [])
    return [f"{', '.join(who)}: {said}" if who else said for said, who in whose.items()]
