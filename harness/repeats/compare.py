"""Repeated runs side by side: as `harness/comparison/compare.py`, with intervals over runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...engines.errors import ConfigError
from ...reports.comparison_headline import ANSWER, headline
from ...reports.format import plural
from ...reports.model import BetweenRuns, Comparison, MetricComparison, PairOfRuns
from ..comparison.alike import mixed, whole_where_mixed
from ..comparison.comparability import differences, disturbances, setting_warnings
from ..comparison.compare import (
    differing_config,
    names_of,
    rates_over,
    repeated_runs,
    row_of,
    shared_quantities,
    undecidable,
)
from ..comparison.evidence import ERROR_RATE, Finding
from ..comparison.quantities import QUANTITIES, Quantity
from ..result import Result
from ..stats.between_runs import reach
from ..stats.bootstrap import CONFIDENCE
from .directory import Repeats
from .pairs import Sides, examine_repeats, match, refuse_invalid
from .pool import cautions

# With more pairs than this the width is the machine's, not the number's.
_FEW = 10
# What sentences are made of, rates of whole runs in place of a window's where not every run has a
# steady one. They answer "is it better?", so none of them may mislead; the other
# rows are there to look at.
SENTENCE_ROWS = frozenset(f"{metric}.{stat}" for metric, stat in ANSWER)
PAIRED = (
    *("output_throughput.window", "ttft.p50", "ttft.p99", "tpot.p50", "tpot.p99", "e2el.p50"),
    "kv.waste_share",
)


def compare_repeats(sides: Sequence[Repeats], *, allow_invalid: bool = False) -> Comparison:
    """Every repeated run against the first.

    Values are means over runs, ratios geometric means over pairs; their intervals are Student's t
    over runs: at 95 % for all the ratios of `SENTENCE_ROWS` together (Bonferroni), and for the rest
    at 95 % each, marked `alone`. To hold together with thirty others, an interval of few runs would
    reach from nothing to anything. Raises ConfigError for fewer than two repeated runs or fewer
    than two repeats of one, and InvalidRun, unless allowed, for a repeat that is invalid or
    partial.
    """
    if len(sides) < 2:
        raise ConfigError("runs", len(sides), "at least two runs")
    if not allow_invalid:
        for side in sides:
            refuse_invalid(side)
    names = names_of([side.directory for side in sides])
    ids = [tuple(run.result.run_id for run in side.runs) for side in sides]
    matched = [match(sides[0], other) for other in sides[1:]]
    firsts = [matched[0].baseline[0], *(one.current[0] for one in matched)]
    results = [run.result for run in firsts]
    held = [result for one in matched for side in one.results for result in side]
    shared = shared_quantities(results, whole=mixed(held))
    sentences = whole_where_mixed([*SENTENCE_ROWS], held)
    judged = [quantity for quantity in shared if quantity.name in sentences]
    uncertain = sum(_has_width(examine_repeats(one, each)) for each in judged for one in matched)
    confidence = 1 - ERROR_RATE / max(uncertain, 1)
    rows = [
        _row(quantity, matched, results, confidence if quantity in judged else None)
        for quantity in shared
    ]
    found_out = headline(names, rows, repeated_runs(names, ids))
    return Comparison(
        runs=names,
        baseline=names[0],
        differing_config=differing_config(results),
        same_requests=all(one.paired for one in matched),
        warnings=(
            *_invalid(names, sides),
            *_limits(results, matched, uncertain, confidence),
            *setting_warnings(results),
            *differences(names, results),
            *_cautions(names, sides),
            *undecidable(rows),
        ),
        rows=tuple(rows),
        statement=found_out.statement,
        undecided=found_out.undecided,
        rates_over=rates_over(held),
        between=BetweenRuns(
            tuple(len(side.runs) for side in sides),
            all(one.paired for one in matched),
            tuple(run.directory.name for run in firsts),
            _how(matched),
            tuple(_pairs(names, matched, whole_where_mixed(PAIRED, held))),
        ),
        differences=(*differences(names, results), *_disturbances(names, sides)),
    )


def _row(
    quantity: Quantity,
    matched: Sequence[Sides],
    results: Sequence[Result],
    confidence: float | None,
) -> MetricComparison:
    """results: one of each side. confidence: of what is judged; None of a row that is there to
    look at."""
    at = CONFIDENCE if confidence is None else confidence
    findings = [examine_repeats(one, quantity, confidence=at) for one in matched]
    configs = [result.config for result in results]
    return row_of(quantity, findings, configs, alone=confidence is None)


def _has_width(finding: Finding) -> bool:
    """What is the same from run to run, such as the weights' bytes, cannot mislead."""
    return finding.estimate is not None and finding.estimate.low < finding.estimate.high


def _how(matched: Sequence[Sides]) -> str:
    if all(one.paired for one in matched):
        pairs = " and ".join(dict.fromkeys(str(one.fewest) for one in matched))
        return (
            f"Student's t over the logarithms of the ratios of {pairs} pairs of runs, each pair "
            "sent the same requests: it covers how runs differ from one to the next"
        )
    return (
        "Welch's t over the logarithms of the runs' values, for the sides were not sent the same "
        "requests: it covers how runs differ from one to the next"
    )


def _limits(
    results: Sequence[Result], matched: Sequence[Sides], uncertain: int, confidence: float
) -> Iterator[str]:
    """What repeats do not cure."""
    simulated = [result.simulation is not None for result in results]
    if all(simulated):
        yield (
            "simulated runs repeat exactly: the intervals cover which requests were sent, not how "
            "wrong the cost model is"
        )
    elif any(simulated):
        yield "simulated beside measured: how wrong the simulation is stands in every difference"
    else:
        yield (
            "the sides were not run in turns: the intervals cover how runs differ from one to the "
            "next, but not a machine that changed between one side and the other ('llmbench ab' "
            "takes turns)"
        )
    fewest = min(one.fewest for one in matched)
    what = "pairs" if all(one.paired for one in matched) else "runs"
    if uncertain and fewest < _FEW:
        yield (
            f"{fewest} {what}: for {plural(uncertain, 'judged ratio')} to hold together at 95 %, "
            f"an interval reaches {reach(fewest, confidence):.3g} standard deviations between "
            f"{what} to either side; with {_FEW} {what} {reach(_FEW, confidence):.3g}; alone, as "
            f"of every other row and of a gate with one rule, {reach(fewest):.3g}"
        )
    for one in matched:
        if one.left_out:
            names = ", ".join(one.left_out)
            yield f"left out, for no run of the other side was sent the same: {names}"


def _invalid(names: Sequence[str], sides: Sequence[Repeats]) -> Iterator[str]:
    for name, side in zip(names, sides, strict=True):
        for run, reason in side.invalid:
            yield f"{name}/{run.directory.name} is not valid: {reason}"


def _disturbances(names: Sequence[str], sides: Sequence[Repeats]) -> Iterator[str]:
    for name, side in zip(names, sides, strict=True):
        called = [f"{name}/{run.directory.name}" for run in side.runs]
        yield from disturbances(called, [run.result for run in side.runs])


def _cautions(names: Sequence[str], sides: Sequence[Repeats]) -> Iterator[str]:
    for name, side in zip(names, sides, strict=True):
        yield from (f"{name}: {said}" for said in cautions([run.result for run in side.runs]))


def _pairs(
    names: Sequence[str], matched: Sequence[Sides], shown: Sequence[str]
) -> Iterator[PairOfRuns]:
    for name, sides in zip(names[1:], matched, strict=True):
        if not sides.paired:
            continue
        for before, after in zip(sides.baseline, sides.current, strict=True):
            ratios = {one: _ratio(one, before.result, after.result) for one in shown}
            yield PairOfRuns(name, after.directory.name, ratios)


def _ratio(name: str, before: Result, after: Result) -> float | None:
    one, other = QUANTITIES[name].value(before), QUANTITIES[name].value(after)
    return other / one if one and other is not None else None
