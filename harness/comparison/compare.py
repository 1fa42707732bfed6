"""Runs side by side: what differs in their settings, and what that did to their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...engines.errors import ConfigError
from ...reports.comparison_headline import headline
from ...reports.facts import NOT_SAID, unit_counted
from ...reports.format import plural
from ...reports.model import (
    Comparison,
    ConfigDifference,
    MetricComparison,
    RatesOver,
    Ratio,
    Verdict,
)
from ..errors import InvalidRun
from ..metrics import UTILISATIONS
from ..metrics.base import Better
from ..result import Result
from ..stats.bootstrap import Estimate
from ..storage.settings import NOT_SETTINGS, setting_of
from ..storage.store import StoredRun
from .admissible import objections
from .alike import mixed
from .comparability import differences, disturbances, says, says_requests, warnings
from .evidence import ERROR_RATE, Finding, examine, has_interval
from .observed import Observed
from .pairing import same_requests
from .quantities import QUANTITIES, SAME, Quantity

_SHARES_OF_PEAKS = frozenset(one.id for one in UTILISATIONS)

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
# Beside those, where not all runs have a steady window.
WHOLE = ("output_throughput.run", "total_throughput.run", "request_throughput.run", "goodput.run")


def compare(
    runs: Sequence[StoredRun],
    *,
    allow_invalid: bool = False,
    stage: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Every run against the first. stage: is told what takes long.

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
    names = names_of([run.directory for run in runs])
    repeated = repeated_runs(names, [run.result.run_id for run in runs])
    different = [each for each in zip(names, runs, strict=True) if each[0] not in repeated]
    observed = [Observed(run, name) for run, name in zip(runs, names, strict=True)]
    results = [run.result for run in runs]
    shared = shared_quantities(results, whole=mixed(results))
    contrasts = sum(has_interval(quantity, results) for quantity in shared) * (len(runs) - 1)
    confidence = 1 - ERROR_RATE / max(contrasts, 1)
    stage(f"{plural(contrasts, 'interval')} of {len(runs)} runs")
    found = {
        quantity: [
            _with_itself(quantity, results[0])
            if repeated.get(name) == names[0]
            else examine(observed[0], run, quantity, confidence=confidence)
            for name, run in zip(names[1:], observed[1:], strict=True)
        ]
        for quantity in shared
    }
    configs = [result.config for result in results]
    whole = [row_of(quantity, findings, configs) for quantity, findings in found.items()]
    rows = [_carried(row, quantity, results) for row, quantity in zip(whole, found, strict=True)]
    found_out = headline(names, rows, repeated)
    return Comparison(
        runs=names,
        baseline=names[0],
        differing_config=differing_config(results),
        same_requests=_same_requests(runs),
        warnings=(
            *(
                f"{name} is not valid: {reasons[0]}"
                for name, run in zip(names, runs, strict=True)
                if (reasons := objections(run))
            ),
            *(warnings(*zip(*different, strict=True)) if len(different) > 1 else ()),
            *undecidable(whole),
        ),
        rows=tuple(rows),
        statement=found_out.statement,
        undecided=found_out.undecided,
        rates_over=rates_over(results),
        differences=(*differences(names, results), *disturbances(names, results)),
    )


def undecidable(rows: Sequence[MetricComparison]) -> Iterator[str]:
    """Why some rows are inconclusive whatever their interval; of quality, whose reasons are its
    own, in a line of its own."""
    for of_quality in (False, True):
        ratios = (one for row in rows if (row.id == "quality") == of_quality for one in row.ratios)
        reasons = [one for one in dict.fromkeys(each.too_little for each in ratios if each) if one]
        if reasons:
            what = "quality is inconclusive" if of_quality else "inconclusive"
            more = f"; and {len(reasons) - 2} more such" if len(reasons) > 2 else ""
            yield f"{what} whatever the interval: {'; '.join(reasons[:2])}{more}"


def _with_itself(quantity: Quantity, result: Result) -> Finding:
    """There is nothing to be unsure of."""
    value = quantity.value(result)
    return Finding(quantity, value, value, None if value is None else Estimate(1.0, 1.0, 1.0))


def repeated_runs(names: Sequence[str], ids: Sequence[Hashable]) -> dict[str, str]:
    """The runs that are an earlier one over again, read twice or copied, and which it is."""
    earlier: dict[Hashable, str] = {}
    return {
        name: first
        for name, one in zip(names, ids, strict=True)
        if (first := earlier.setdefault(one, name)) != name
    }


def names_of(directories: Sequence[Path]) -> tuple[str, ...]:
    """What each run is called beside the others: the last part of each path, and as many before it
    as tell two apart; a path that is given again is numbered, for every run has a name of its
    own."""
    different = list(dict.fromkeys(directories))
    names = {path: path.name for path in different}
    for parts in range(2, max((len(path.parts) for path in different), default=0) + 1):
        shared = [path for path in different if list(names.values()).count(names[path]) > 1]
        names |= {path: "/".join(path.parts[-parts:]) for path in shared}
    return tuple(
        names[path]
        if not (before := directories[:at].count(path))
        else f"{names[path]} ({before + 1})"
        for at, path in enumerate(directories)
    )


def _same_requests(runs: Sequence[StoredRun]) -> bool | None:
    """None where some do not say what they were sent, and the others were sent the same."""
    told = [run for run in runs if says_requests(run.result)]
    if not all(same_requests(told[0], run) for run in told[1:]):
        return False
    return True if len(told) == len(runs) else None


def differing_config(results: Sequence[Result]) -> tuple[ConfigDifference, ...]:
    """Settings that are not the same in all runs that say them, with each run's value."""
    fields = dict.fromkeys(field for result in results for field in result.config)
    found = []
    for field in fields:
        known = {
            at: setting_of(result.config, field)
            for at, result in enumerate(results)
            if says(result, field)
        }
        if field not in NOT_SETTINGS and len(set(map(repr, known.values()))) > 1:
            values = (
                known[at] if at in known else result.config.get(field, NOT_SAID)
                for at, result in enumerate(results)
            )
            found.append(ConfigDifference(field, tuple(values)))
    return tuple(found)


def shared_quantities(results: Sequence[Result], *, whole: bool) -> list[Quantity]:
    """Those that at least two of the results have; of chunks only where some held several tokens,
    for else they say of tokens what tokens say. whole: rates of whole runs, too, for where some
    have a steady window and some have none those of the window are not alike."""
    chunks = any("icl" in one.metrics and not one.has_token_chunks for one in results)
    return [
        quantity
        for quantity in map(QUANTITIES.__getitem__, (*(WHOLE if whole else ()), *COMPARED))
        if sum(quantity.value(result) is not None for result in results) >= 2
        and (chunks or quantity.id != "icl")
    ]


def rates_over(results: Sequence[Result]) -> RatesOver:
    """What the rates called `window` are over."""
    if mixed(results):
        return "steady window, else whole run"
    return "steady window" if results[0].window.steady else "whole run"


def row_of(
    quantity: Quantity,
    findings: Sequence[Finding],
    configs: Sequence[Mapping[str, Any]],
    *,
    alone: bool = False,
) -> MetricComparison:
    """findings: of this quantity, of each run but the first against the first. configs: of all
    runs. alone: each interval holds by itself only."""
    return MetricComparison(
        id=quantity.id,
        stat=quantity.stat,
        unit=unit_counted(quantity.unit, *configs),
        better=quantity.better,
        values=(findings[0].baseline, *(finding.current for finding in findings)),
        ratios=(None, *(_ratio(finding, alone) for finding in findings)),
    )


def _carried(
    row: MetricComparison, quantity: Quantity, results: Sequence[Result]
) -> MetricComparison:
    """Without the values of percentiles that runs have too few samples for, and what would be said
    of them beside each other: their own reports show none."""
    values = [
        value if quantity.is_carried(result) else None
        for value, result in zip(row.values, results, strict=True)
    ]
    shown = [value is not None and values[0] is not None for value in values]
    ratios = (ratio if kept else None for ratio, kept in zip(row.ratios, shown, strict=True))
    return replace(row, values=tuple(values), ratios=tuple(ratios))


def _ratio(finding: Finding, alone: bool) -> Ratio | None:
    """None where a ratio says nothing: a run lacks the quantity, or of a sample the baseline is
    0."""
    estimate, quantity = finding.estimate, finding.quantity
    if estimate is None or math.isnan(estimate.value):
        return None
    has_width = math.isfinite(estimate.low) and (quantity.sampled or estimate.low < estimate.high)
    return Ratio(
        value=estimate.value,
        low=estimate.low if has_width else None,
        high=estimate.high if has_width else None,
        verdict=verdict(finding),
        alone=alone and has_width,
        too_little=finding.too_little,
    )


def verdict(finding: Finding) -> Verdict | None:
    """better or worse if the whole interval is; same if it is wholly within 2 % of 1. A count is
    the same only if it is equal, and a share that should be whole only if it may be: within 2 % of
    all requests lie those of a limit that one in a thousand misses, and one in fifty. None where
    there is a difference and no direction is better, or one is only as time is: a whole run's
    share of a peak is higher if it does the same sooner, which rates tell, and if it does more."""
    estimate, quantity = finding.estimate, finding.quantity
    if estimate is None or finding.too_little or math.isnan(estimate.low):
        return "inconclusive"
    margin = 0.0 if quantity.kind == "count" else SAME
    may_be_one = estimate.low <= 1 <= estimate.high
    near_one = 1 - margin <= estimate.low and estimate.high <= 1 + margin
    if near_one and (may_be_one or not should_be_whole(quantity)):
        return "same"
    if may_be_one:
        return "inconclusive"
    whole_run = quantity.stat == "run" and quantity.id in _SHARES_OF_PEAKS
    if quantity.better == "none" or whole_run:
        return None
    return "better" if _improves(estimate.low > 1, quantity.better) else "worse"


def should_be_whole(quantity: Quantity) -> bool:
    """Of all requests those that keep a limit; of all tokens those that are as they should."""
    counted = quantity.kind in ("sampled", "quality")
    return counted and quantity.unit == "share" and quantity.better == "higher"


def _improves(rises: bool, better: Better) -> bool:
    return rises == (better == "higher")
