"""Whether a change made serving worse: rules in, three verdicts and an exit code out.

What was sampled is judged by the interval of its contrast, not by two numbers; a count is judged
as it stands. Nothing passes for want of evidence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..engines.errors import ConfigError
from .evidence import ERROR_RATE, Finding, Observed, examine, objections, same_requests
from .quantities import Quantity, find_quantity
from .slo import parse_seconds
from .stats.bootstrap import Estimate
from .store import StoredRun

Verdict = Literal["passed", "regressed", "inconclusive"]

PASSED, REGRESSED, INVALID, INCONCLUSIVE = 0, 1, 3, 4
_FIELD = "max_regression"
_FORM = "METRIC.STAT=ALLOWED such as ttft.p99=10%, tpot.mean=2ms or preemptions=exact"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rule:
    """How much worse a quantity may get.

    allowed: a share of the baseline if relative, else an amount in the quantity's unit.
    both_ways: any change counts, whichever direction is better.
    """

    quantity: Quantity
    allowed: float
    relative: bool
    both_ways: bool
    text: str


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


def parse_rule(text: str) -> Rule:
    """`ttft.p99=10%`, `tpot.mean=2ms`, `kv.waste_share=0.05`, `preemptions=exact`.

    A percentage is of the baseline; a bare number is in the quantity's unit; `exact` lets nothing
    change at all, and is for counts. Raises ConfigError for `max_regression`.
    """
    name, equals, allowed = (part.strip() for part in text.partition("="))
    if not equals or not allowed:
        raise ConfigError(_FIELD, text, _FORM)
    quantity = find_quantity(_FIELD, name)
    if allowed == "exact":
        if quantity.kind != "count":
            raise ConfigError(
                _FIELD, text, f"a percentage or an amount: {quantity.name} is measured with noise"
            )
        return Rule(quantity, 0.0, relative=False, both_ways=True, text=text)
    both_ways = quantity.better == "none"
    if allowed.endswith("%"):
        share = _number(text, allowed[:-1]) / 100
        return Rule(quantity, share, relative=True, both_ways=both_ways, text=text)
    amount = _amount(text, allowed, quantity)
    return Rule(quantity, amount, relative=False, both_ways=both_ways, text=text)


def gate(baseline: StoredRun, current: StoredRun, rules: Sequence[Rule]) -> GateOutcome:
    """Judge each rule. With several sampled rules each interval is widened (Bonferroni), so that
    the chance of any false verdict stays 5 %. Raises ConfigError if there are no rules, and for a
    simulated run against a measured one: both may be valid, but the difference would be mostly how
    wrong the cost model is."""
    if not rules:
        raise ConfigError(_FIELD, "", "at least one rule, " + _FORM)
    if (baseline.result.simulation is None) != (current.result.simulation is None):
        kinds = ("measured", "simulated")
        kind = kinds[current.result.simulation is not None]
        other = kinds[baseline.result.simulation is not None]
        raise ConfigError(
            "current",
            f"{current.directory.name} ({kind})",
            f"a {other} run, as the baseline {baseline.directory.name} is",
        )
    names = (baseline.result.label, current.result.label)
    invalid = [
        f"the {side} run is not valid: {reason}"
        for side, stored in (("baseline", baseline), ("current", current))
        for reason in objections(stored)
    ]
    if invalid:
        return GateOutcome(INVALID, (), tuple(invalid), (), *names)
    sampled = sum(rule.quantity.sampled for rule in rules)
    before, after = Observed(baseline), Observed(current)
    confidence = 1 - ERROR_RATE / max(sampled, 1)
    rows = tuple(_judge(rule, before, after, confidence) for rule in rules)
    verdicts = {row.verdict for row in rows}
    code = PASSED
    if "regressed" in verdicts:
        code = REGRESSED
    elif "inconclusive" in verdicts:
        code = INCONCLUSIVE
    return GateOutcome(code, rows, (), _warnings(baseline, current, rules), *names)


def _judge(rule: Rule, baseline: Observed, current: Observed, confidence: float) -> Row:
    finding = examine(
        baseline,
        current,
        rule.quantity,
        contrast="ratio" if rule.relative else "difference",
        confidence=confidence,
    )
    verdict, note = _verdict(rule, finding)
    if not rule.quantity.sampled and not same_requests(baseline.stored, current.stored):
        verdict, note = "inconclusive", "the runs were not sent the same requests"
    estimate = finding.estimate
    return Row(
        rule,
        finding.baseline,
        finding.current,
        _finite(estimate.low) if estimate else None,
        _finite(estimate.high) if estimate else None,
        verdict,
        note,
    )


def _verdict(rule: Rule, finding: Finding) -> tuple[Verdict, str]:
    if finding.estimate is None or finding.too_little:
        return "inconclusive", finding.too_little
    least, most = _worsening(rule, finding.estimate)
    if math.isnan(least) or math.isnan(most):
        return "inconclusive", "the baseline is 0 or empty"
    if least > rule.allowed + _ROUNDING:
        return "regressed", ""
    if most <= rule.allowed + _ROUNDING:
        return "passed", ""
    return "inconclusive", "the interval holds both more and less than what is allowed"


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
    elif any(rule.quantity.sampled for rule in rules):
        found.append(
            "one run of each: the intervals cover which requests were measured, not how a machine "
            "differs from run to run"
        )
    if not same_requests(baseline, current):
        found.append("the runs were not sent the same requests, so they are not paired")
    counts = any(not rule.quantity.sampled for rule in rules)
    if counts and not simulated and current.result.config.get("request_rate") is not None:
        found.append(
            "requests arrived by the clock: schedules, and so counts, differ a little every time"
        )
    return tuple(found)


def _amount(text: str, allowed: str, quantity: Quantity) -> float:
    if quantity.unit == "s":
        return 0.0 if allowed == "0" else parse_seconds(_FIELD, allowed)
    return _number(text, allowed.removesuffix(quantity.unit))


def _number(text: str, number: str) -> float:
    if not re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*", number):
        raise ConfigError(_FIELD, text, _FORM)
    return float(number)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
