"""Runs side by side: what differs in their settings, and what that did to their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engines.errors import ConfigError
from ..reports.comparison_tables import end_text
from ..reports.model import Comparison, ConfigDifference, MetricComparison, Ratio, Verdict
from .errors import InvalidRun
from .evidence import (
    ERROR_RATE,
    Finding,
    examine,
    has_interval,
    objections,
    same_requests,
)
from .metrics.base import Better
from .observed import Observed
from .quantities import QUANTITIES, Quantity
from .result import Result
from .settings import NOT_SETTINGS, setting_of
from .store import RunOnDisk, StoredRun

# An interval wholly this close to 1 is no difference that anyone would choose by.
SAME = 0.02

COMPARED = (
    *("output_throughput.window", "total_throughput.window", "request_throughput.window"),
    *("goodput.window", "goodput_share.run"),
    *("ttft.mean", "ttft.p50", "ttft.p99", "queue.mean", "queue.p99"),
    *("tpot.mean", "tpot.p50", "tpot.p99", "itl.p50", "itl.p99", "icl.p50", "icl.p99"),
    *("ntpot.mean", "e2el.mean", "e2el.p50", "e2el.p99"),
    *("batch_tokens.mean", "batch_requests.mean", "budget_utilisation.mean", "kv.waste_share"),
    *("counters.preemptions", "counters.recomputed_tokens", "counters.kv_peak_held_tokens"),
    *("counters.steps", "counters.requests_refused", "memory.weight_bytes", "memory.kv_bytes"),
    *("mfu.run", "mbu.run", "mbu.decode", "energy_per_token.output"),
    *("cost_per_million_tokens.output", "cost_per_million_tokens.total"),
    *("quality.perplexity", "quality.text_kl_mean", "quality.text_kl_p99"),
    "quality.text_top1_agreement",
    *("quality.kl_mean", "quality.top1_agreement"),
)
HEADLINES = ("output_throughput.window", "ttft.p99", "tpot.mean", "kv.waste_share")
# What an engine is chosen by, and the settings that say it: weights are one choice, as they are
# typed, `awq+int8-head`.
_CHOICES = {
    "batching": ("batching",),
    "admission": ("admission",),
    "kv": ("kv",),
    "quant": ("quant", "quant_head"),
    "kv_dtype": ("kv_dtype",),
    "model_impl": ("model_impl",),
    "load_format": ("load_format",),
}
_ENVIRONMENT = {
    "CPU": ("cpu", "model"),
    "usable cores": ("cpu", "usable_cores"),
    "CPU quota": ("cpu", "cgroup_limit_cores"),
    "threads": ("torch", "threads"),
    "GPUs": ("gpus",),
    "Python": ("python",),
    "torch": ("packages", "torch"),
    "triton": ("packages", "triton"),
    "transformers": ("packages", "transformers"),
    "llmbench commit": ("git", "commit"),
}


def compare(runs: Sequence[StoredRun], *, allow_invalid: bool = False) -> Comparison:
    """Every run against the first.

    Ratios are run / first. Where runs show how sure a quantity is they have an interval, at 95 %
    for all the ratios together (Bonferroni): among forty at 95 % each, two would mislead. Raises
    ConfigError for fewer than two runs and InvalidRun, unless allowed, for one that is invalid or
    partial.
    """
    if len(runs) < 2:
        raise ConfigError("runs", len(runs), "at least two runs")
    refused = [(run, reasons) for run in runs if (reasons := objections(run))]
    if refused and not allow_invalid:
        run, reasons = refused[0]
        raise InvalidRun(f"{run.directory}: not valid, so not comparable: {reasons[0]}")
    names = run_names(runs)
    observed = [Observed(run) for run in runs]
    results = [run.result for run in runs]
    shared = shared_quantities(results)
    contrasts = sum(has_interval(quantity, results) for quantity in shared) * (len(runs) - 1)
    confidence = 1 - ERROR_RATE / max(contrasts, 1)
    found = {
        quantity: [
            examine(observed[0], run, quantity, confidence=confidence) for run in observed[1:]
        ]
        for quantity in shared
    }
    rows = [row_of(quantity, findings) for quantity, findings in found.items()]
    return Comparison(
        runs=names,
        baseline=names[0],
        differing_config=differing_config(runs),
        same_requests=all(same_requests(runs[0], run) for run in runs[1:]),
        warnings=(
            *(
                f"{name} is not valid: {reasons[0]}"
                for name, run in zip(names, runs, strict=True)
                if (reasons := objections(run))
            ),
            *warnings(names, runs),
            *_undecidable([one for findings in found.values() for one in findings]),
        ),
        rows=tuple(rows),
        statement=statement(names, rows),
        differences=tuple(differences(names, [run.result for run in runs])),
    )


def _undecidable(findings: Sequence[Finding]) -> Iterator[str]:
    """Why some rows are inconclusive whatever their interval."""
    reasons = list(dict.fromkeys(one.too_little for one in findings if one.estimate is not None))
    reasons = [reason for reason in reasons if reason]
    if reasons:
        more = f"; and {len(reasons) - 2} more such" if len(reasons) > 2 else ""
        yield f"inconclusive whatever the interval: {'; '.join(reasons[:2])}{more}"


def run_names(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    """What each run is called beside the others: its directory, with the parent if two agree."""
    return names_of([run.directory for run in runs])


def names_of(directories: Sequence[Path]) -> tuple[str, ...]:
    names = [directory.name for directory in directories]
    return tuple(
        f"{directory.parent.name}/{name}" if names.count(name) > 1 else name
        for directory, name in zip(directories, names, strict=True)
    )


def differing_config(runs: Sequence[StoredRun | RunOnDisk]) -> tuple[ConfigDifference, ...]:
    """Settings that are not the same in all runs, with each run's value."""
    configs = [run.result.config for run in runs]
    fields = list(dict.fromkeys(field for config in configs for field in config))
    told = {
        field: tuple(setting_of(config, field) for config in configs)
        for field in fields
        if field not in NOT_SETTINGS
    }
    return tuple(
        ConfigDifference(field, values)
        for field, values in told.items()
        if len(set(map(repr, values))) > 1
    )


def warnings(names: Sequence[str], runs: Sequence[StoredRun]) -> tuple[str, ...]:
    """What the numbers of these runs, side by side, cannot say."""
    results = [run.result for run in runs]
    found = _repeat_warnings(names, results)
    found.extend(differences(names, results))
    for name, result in zip(names, results, strict=True):
        found.extend(
            f"{name}: {check.detail}" for check in result.validity.failures if not check.fatal
        )
    return tuple(found)


def differences(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """Why a difference between these results may not be the engines' doing."""
    found = list(_http_warnings(names, results))
    if len({result.workload.fingerprint for result in results}) > 1:
        found.append("the runs were not sent the same requests, so they are not paired")
    if len({result.config.get("model") for result in results}) > 1:
        found.append("the runs served different models")
    if len({result.config.get("price_per_hour") for result in results}) > 1:
        found.append("the runs were priced differently, and so are their tokens")
    judged = [result.quality for result in results if result.quality is not None]
    if (
        len(
            {
                (one.perplexity_text, one.perplexity_window_tokens, one.perplexity_tokens)
                for one in judged
            }
        )
        > 1
    ):
        found.append("quality was measured on different text or windows, so it does not compare")
    if len({result.config.get("kv_memory_bytes") for result in results}) > 1:
        found.append("the runs had different KV memory, which alone changes what can run at once")
    choices = [
        choice
        for choice, settings in _CHOICES.items()
        if len({str([setting_of(one.config, name) for name in settings]) for one in results}) > 1
    ]
    if len(choices) > 1:
        found.append(
            f"the engines differ in {_listed(choices)} at once: no difference below can be put "
            "down to one of them"
        )
    measured = [
        result.environment
        for result in results
        # A run from another tool's file does not say where it ran.
        if result.simulation is None and result.environment
    ]
    found.extend(environment_differences(measured))
    return found


def _repeat_warnings(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What another run of the same settings would change."""
    kinds = [result.simulation for result in results]
    found: list[str] = []
    if None in kinds:
        found.append(
            "one run of each, one after the other: the intervals cover which requests were "
            "measured, not how a machine differs from run to run"
        )
    simulated = [name for name, kind in zip(names, kinds, strict=True) if kind is not None]
    if simulated and None in kinds:
        measured = [name for name, kind in zip(names, kinds, strict=True) if kind is None]
        found.append(
            f"{_listed(simulated)} simulated, {_listed(measured)} measured: how wrong the "
            "simulation is stands in every difference"
        )
    elif simulated:
        found.append(
            "simulated runs repeat exactly: the intervals cover which requests were sent, not how "
            "wrong the cost model is"
        )
        if len({(kind.cost_model, str(kind.efficiency)) for kind in kinds if kind}) > 1:
            found.append("the runs were simulated with different cost models")
    return found


def _http_warnings(names: Sequence[str], results: Sequence[Result]) -> Iterator[str]:
    """What a client over HTTP adds to the latencies of a server, and only to those."""
    for name, result in zip(names, results, strict=True):
        if result.target is None:
            continue
        error = result.client_error
        how_wrong = (
            "and the client's own error is not known (llmbench calibrate-client)"
            if error is None
            else f"where the client is off by up to {1e3 * error.ttft.p99_s:.2g} ms in TTFT and "
            f"{1e3 * error.itl.p99_s:.2g} ms in ITL at p99"
        )
        yield f"{name} was measured over HTTP, {how_wrong}"


def environment_differences(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Hardware and software that are not the same in all."""
    found = []
    for name, path in _ENVIRONMENT.items():
        values = [_at(environment, path) for environment in environments]
        if any(value != values[0] for value in values):
            shown = " / ".join(str(value) for value in values)
            found.append(f"the environments differ in {name}: {shown}")
    return found


def _at(environment: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: Any = environment
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def shared_quantities(results: Sequence[Result]) -> list[Quantity]:
    """Those that at least two of the results have."""
    return [
        quantity
        for quantity in map(QUANTITIES.__getitem__, COMPARED)
        if sum(quantity.value(result) is not None for result in results) >= 2
    ]


def row_of(
    quantity: Quantity, findings: Sequence[Finding], *, alone: bool = False
) -> MetricComparison:
    """findings: of this quantity, of each run but the first against the first. alone: each interval
    holds by itself only."""
    return MetricComparison(
        id=quantity.id,
        stat=quantity.stat,
        unit=quantity.unit,
        better=quantity.better,
        values=(findings[0].baseline, *(finding.current for finding in findings)),
        ratios=(None, *(_ratio(finding, alone) for finding in findings)),
    )


def _ratio(finding: Finding, alone: bool) -> Ratio | None:
    """None where a ratio says nothing: a run lacks the quantity, or the baseline is 0."""
    estimate, quantity = finding.estimate, finding.quantity
    if estimate is None or not math.isfinite(estimate.value):
        return None
    has_width = math.isfinite(estimate.low) and (quantity.sampled or estimate.low < estimate.high)
    return Ratio(
        value=estimate.value,
        low=estimate.low if has_width else None,
        high=estimate.high if has_width else None,
        verdict=verdict(finding),
        alone=alone and has_width,
    )


def verdict(finding: Finding) -> Verdict | None:
    """better or worse if the whole interval is; same if it is wholly within 2 % of 1. A count is
    the same only if it is equal. None where no direction is better and there is a difference."""
    estimate, quantity = finding.estimate, finding.quantity
    if estimate is None or finding.too_little or math.isnan(estimate.low):
        return "inconclusive"
    margin = 0.0 if quantity.kind == "count" else SAME
    if 1 - margin <= estimate.low and estimate.high <= 1 + margin:
        return "same"
    if estimate.low <= 1 <= estimate.high:
        return "inconclusive"
    if quantity.better == "none":
        return None
    return "better" if _improves(estimate.low > 1, quantity.better) else "worse"


def _improves(rises: bool, better: Better) -> bool:
    return rises == (better == "higher")


def statement(names: Sequence[str], rows: Sequence[MetricComparison]) -> str:
    """The answer in a sentence a run, from the headline quantities."""
    by_name = {f"{row.id}.{row.stat}": row for row in rows}
    sentences = []
    for place in range(1, len(names)):
        parts = [
            f"{name} {ratio.value:.2f}x{_interval(ratio)} ({ratio.verdict})"
            for name in HEADLINES
            if name in by_name and (ratio := by_name[name].ratios[place]) is not None
        ]
        found = ", ".join(parts) or "nothing in common was measured"
        sentences.append(f"{names[place]} against {names[0]}: {found}.")
    return " ".join(sentences)


def _interval(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return ""
    return f" [{end_text(ratio.low)}, {end_text(ratio.high)}]"


def _listed(names: Sequence[str]) -> str:
    return " and ".join((*((", ".join(names[:-1]),) if names[1:] else ()), names[-1]))
