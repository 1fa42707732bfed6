"""Whether a change made serving worse: rules in, three verdicts and an exit code out.

What was measured is judged by the interval of its contrast, not by two numbers; a count is judged
as it stands. Nothing passes for want of evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ...engines.errors import ConfigError, MissingError
from ..comparison.admissible import objections
from ..comparison.evidence import ERROR_RATE, Finding, agree, examine, has_interval
from ..comparison.observed import Observed
from ..comparison.output_lengths import length_warnings
from ..comparison.pairing import counts_repeat, same_requests
from ..comparison.quantities import Quantity, finite_or_none
from ..stats.bootstrap import Contrast, Estimate
from ..storage.store import RunOnDisk, StoredRun
from .change import levels, percent, scaled
from .rules import FIELD, FORM, Rule
from .verdicts import INVALID, Verdict, VerdictRow, Verdicts, exit_code

COUNTS_DIFFER = (
    "requests arrived or steps waited by the clock, or a server served: schedules, and so counts, "
    "differ a little every time"
)
_ROUNDING = 1e-9
# A quantity's finding, for a contrast at a confidence.
Examined = Callable[[Quantity, Contrast, float], Finding]


@dataclass(frozen=True)
class Row:
    """What became of one rule. low, high: the interval of the ratio (relative rules) or of the
    difference; None where there is none. note: why it is inconclusive."""

    rule: Rule
    baseline: float | None
    current: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class GateOutcome:
    """exit_code: 0 passed, 1 regressed, 3 a run is not valid (then there are no rows),
    4 inconclusive. warnings: what the verdicts do not cover."""

    exit_code: int
    rows: tuple[Row, ...]
    invalid: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    baseline: str = ""
    current: str = ""


def gate(baseline: StoredRun, current: StoredRun, rules: Sequence[Rule]) -> GateOutcome:
    """Judge each rule. With several intervals each is widened, so that the chance of any false
    verdict stays 5 %. Raises ConfigError if there are no rules, and for a
    simulated run against a measured one: both may be valid, but the difference would be mostly how
    wrong the cost model is."""
    if not rules:
        raise MissingError(FIELD, "at least one --max-regression " + FORM)
    refuse_other_kind(baseline, current)
    names = (baseline.result.label, current.result.label)
    invalid = [
        f"the {side} run is not valid: {reason}"
        for side, stored in (("baseline", baseline), ("current", current))
        for reason in objections(stored)
    ]
    if invalid:
        return GateOutcome(INVALID, (), tuple(invalid), (), *names)
    same = same_requests(baseline, current)
    rows = judge_all(
        rules,
        partial(
            _examined,
            Observed(baseline, "the baseline run"),
            Observed(current, "the current run"),
        ),
        partial(has_interval, results=(baseline.result, current.result)),
        same=same,
    )
    code = exit_code(row.verdict for row in rows)
    return GateOutcome(code, rows, (), _warnings(baseline, current, rules), *names)


def refuse_other_kind(baseline: StoredRun | RunOnDisk, current: StoredRun | RunOnDisk) -> None:
    """Raises ConfigError for a simulated run against a measured one."""
    if (baseline.result.simulation is None) == (current.result.simulation is None):
        return
    kinds = ("measured", "simulated")
    kind = kinds[current.result.simulation is not None]
    other = kinds[baseline.result.simulation is not None]
    raise ConfigError(
        "current",
        f"{current.directory.name} ({kind})",
        f"a {other} run, as the baseline {baseline.directory.name} is",
    )


def _examined(
    baseline: Observed, current: Observed, quantity: Quantity, contrast: Contrast, level: float
) -> Finding:
    return examine(baseline, current, quantity, contrast=contrast, confidence=level)


def judge_all(
    rules: Sequence[Rule], examined: Examined, uncertain: Callable[[Quantity], bool], *, same: bool
) -> tuple[Row, ...]:
    """Holm's step-down rule in intervals: what is clear at the level that all share leaves, and
    the others share the chance of error anew. uncertain: whether a quantity has an interval.
    same: whether both sides were sent the same requests."""
    rows: dict[int, Row] = {}
    waiting = list(range(len(rules)))
    while waiting:
        sharing = [at for at in waiting if uncertain(rules[at].quantity)]
        confidence = 1 - ERROR_RATE / max(len(sharing), 1)
        for at in waiting:
            quantity = rules[at].quantity
            others = quantity.kind == "quality" or (uncertain(quantity) and quantity.measured)
            rows[at] = _judge(rules[at], examined, confidence, same or others)
        still = [at for at in sharing if rows[at].verdict == "inconclusive"]
        if len(still) == len(sharing):
            break
        waiting = still
    return tuple(rows[at] for at in range(len(rules)))


def _judge(rule: Rule, examined: Examined, confidence: float, comparable: bool) -> Row:
    finding = examined(rule.quantity, "ratio" if rule.relative else "difference", confidence)
    verdict, note = _verdict(rule, finding)
    if verdict != "inconclusive" and not comparable:
        verdict, note = "inconclusive", "the runs were not sent the same requests"
    estimate = finding.estimate
    return Row(
        rule,
        finding.baseline,
        finding.current,
        finite_or_none(estimate.low) if estimate else None,
        finite_or_none(estimate.high) if estimate else None,
        verdict,
        note,
    )


def _verdict(rule: Rule, finding: Finding) -> tuple[Verdict, str]:
    if finding.estimate is None or finding.too_little:
        return "inconclusive", finding.too_little
    if rule.exact and not _equal(finding):
        return "regressed", ""
    least, most = _worsening(rule, finding.estimate)
    if math.isnan(least) or math.isnan(most):
        return "inconclusive", finding.undefined or "the baseline is 0 or empty"
    if least > rule.allowed + _ROUNDING:
        return "regressed", ""
    if most <= rule.allowed + _ROUNDING:
        return "passed", ""
    return "inconclusive", "the interval holds both more and less than what is allowed"


def _equal(finding: Finding) -> bool:
    before, after = finding.baseline, finding.current
    return before is not None and after is not None and agree(before, after)


def _worsening(rule: Rule, estimate: Estimate) -> tuple[float, float]:
    """The least and the most the quantity may have got worse by, in the rule's own terms."""
    unchanged = 1.0 if rule.relative else 0.0
    rise = (estimate.low - unchanged, estimate.high - unchanged)
    fall = (-rise[1], -rise[0])
    if rule.both_ways:
        return max(rise[0], fall[0], 0.0), max(rise[1], fall[1])
    return fall if rule.quantity.better == "higher" else rise


def _warnings(baseline: StoredRun, current: StoredRun, rules: Sequence[Rule]) -> tuple[str, ...]:
    found: list[str] = []
    simulated = current.result.simulation is not None
    if simulated:
        found.append("both runs are simulated: no rule covers how wrong the cost model is")
    elif any(rule.quantity.measured for rule in rules):
        found.append(
            "weak evidence, for the runs were not interleaved: the intervals cover which requests "
            "were measured, not how a machine differs from run to run; llmbench ab measures both "
            "sides in turns"
        )
    for side, run in (("baseline", baseline), ("current", current)):
        failed = (check.detail for check in run.result.validity.failures)
        found.extend(f"the {side} run: {detail}" for detail in failed)
    if not same_requests(baseline, current):
        found.append("the runs were not sent the same requests, so they are not paired")
    sides = ("the baseline", "the current run")
    found.extend(length_warnings(sides, (baseline.result, current.result)))
    counts = any(rule.quantity.kind == "count" for rule in rules)
    if counts and not all(counts_repeat(run.result) for run in (baseline, current)):
        found.append(COUNTS_DIFFER)
    return tuple(found)


def verdicts_of(outcome: GateOutcome) -> Verdicts:
    """The outcome as every report takes it."""
    return Verdicts(
        "llmbench gate",
        outcome.exit_code,
        tuple(
            VerdictRow(row.rule.text, describe(row), row.verdict, row.note) for row in outcome.rows
        ),
        (f"baseline {outcome.baseline}, current {outcome.current}",),
        outcome.invalid,
        outcome.warnings,
    )


def describe(row: Row) -> str:
    """`12.1 -> 13.4 ms (+2.1 to +19.0 %)`: both values, and the interval of the change, but of a
    rule that lets nothing change, which asks for none."""
    if row.baseline is None or row.current is None:
        return "not measured"
    values = levels(row.baseline, row.current, row.rule.quantity.unit)
    if row.low is None or row.high is None or row.rule.exact:
        return values
    if not row.rule.quantity.sampled and row.low == row.high:
        return values
    if row.rule.relative:
        return f"{values} ({percent(row.low)} to {percent(row.high)} %)"
    scale, unit = scaled(row.rule.quantity.unit)
    # Of a percentage, "+3 %" would be a thirtieth of it.
    unit = "points" if unit == "%" else unit
    change = f"{row.low * scale:+.4g} to {row.high * scale:+.4g} {unit}".rstrip()
    return f"{values} ({change})"
