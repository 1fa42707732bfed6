"""The gate without noise: runs in virtual time, whose numbers repeat, held against a baseline.

No model, no GPU, no wall clock: what changes is the schedule, the workload or the cost model.
Counts must be equal; times are equal if they agree to nine digits, for sums round differently
between processors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...engines.errors import ConfigError
from ...workloads.api import WorkloadError
from ..comparison.evidence import ROUNDING, agree
from ..comparison.quantities import QUANTITIES, Quantity
from ..errors import InvalidRun
from ..result import Result
from .baseline import Baseline, BaselineRun
from .change import levels
from .rules import Rule, parse_rule
from .verdicts import INVALID, VerdictRow, Verdicts, exit_code, worst_first

_DIGITS = 10
GATED = (
    *(name for name in QUANTITIES if name.startswith("counters.")),
    *("ttft.mean", "ttft.p50", "ttft.p99", "queue.mean", "queue.p99"),
    *("tpot.mean", "tpot.p99", "itl.p99", "e2el.mean", "e2el.p99", "output_throughput.run"),
    *("batch_tokens.mean", "batch_requests.mean", "budget_utilisation.mean", "kv.waste_share"),
    *("mfu.run", "mfu.prefill", "mbu.run", "mbu.decode", "cost_per_million_tokens.output"),
)
Simulate = Callable[[Mapping[str, Any]], Result]


def values_of(result: Result) -> dict[str, float]:
    """Every gated quantity that the run has, by name, to ten digits."""
    found = {name: QUANTITIES[name].value(result) for name in GATED}
    return {name: _rounded(value) for name, value in found.items() if value is not None}


def run_of(options: Mapping[str, Any], result: Result) -> BaselineRun:
    """A result as a baseline holds it. Raises InvalidRun for one that is not valid."""
    refuse_invalid(result)
    return BaselineRun(dict(options), {}, result.workload.fingerprint, values_of(result))


def refuse_invalid(result: Result) -> None:
    """Raises InvalidRun for a run whose numbers prove nothing."""
    for check in result.validity.failures:
        if check.fatal:
            raise InvalidRun(check.detail)


def update(
    baseline: Baseline, version: str, simulate: Simulate, *, only: Sequence[str] = ()
) -> Baseline:
    """The baseline with what its runs do now. only: as in `gate_exact`; the others stay. Raises
    InvalidRun naming a run."""
    runs = dict(baseline.runs)
    for name, run in _chosen(baseline, only).items():
        rules_of(name, run)  # a mistake in them must not wait for the next gate
        runs[name] = replace(_named(name, run, simulate), allowed=run.allowed)
    return Baseline(version, runs)


def gate_exact(baseline: Baseline, simulate: Simulate, *, only: Sequence[str] = ()) -> Verdicts:
    """Make every run of the baseline again and judge it. only: names of runs; empty for all.

    A row that changed for the better passes and says so. One whose direction says nothing (how
    many steps were mixed) may not change either way. A run that is not valid is named, and hides
    none of the others.
    """
    rows: list[VerdictRow] = []
    invalid: list[str] = []
    for name, run in _chosen(baseline, only).items():
        try:
            rows.extend(judge_run(name, run, _named(name, run, simulate)))
        except InvalidRun as error:
            invalid.append(str(error))
    warnings = ["in virtual time: no row covers how wrong the cost model is"]
    found = {row.verdict for row in rows}
    if "regressed" in found:
        warnings.append(
            "if what changed is meant: llmbench gate --update, with --run for one run alone"
        )
    # Beside a regression the advice would make that the baseline, too.
    if "improved" in found and "regressed" not in found and not invalid:
        warnings.append("something improved: llmbench gate --update keeps it from getting lost")
    return Verdicts(
        "llmbench gate",
        INVALID if invalid else exit_code(found),
        worst_first(rows),
        (
            f"baseline made by llmbench {baseline.llmbench}"
            if baseline.llmbench
            else "baseline without numbers yet",
        ),
        tuple(invalid),
        warnings=tuple(warnings),
    )


def _chosen(baseline: Baseline, only: Sequence[str]) -> dict[str, BaselineRun]:
    """The runs of these names; without any, all. Raises ConfigError for a name it does not have."""
    unknown = [name for name in only if name not in baseline.runs]
    if unknown:
        raise ConfigError("run", unknown[0], ", ".join(baseline.runs))
    return {name: run for name, run in baseline.runs.items() if not only or name in only}


def judge_run(name: str, before: BaselineRun, after: BaselineRun) -> Iterable[VerdictRow]:
    """A row a quantity of the baseline. What the baseline has not is new, and is not judged. Raises
    ConfigError as `rules_of` does."""
    rules = rules_of(name, before)
    if not before.quantities:
        yield VerdictRow(name, "never made", "inconclusive", "llmbench gate --update makes it")
        return
    if before.workload != after.workload:
        change = f"{before.workload[:12]} -> {after.workload[:12]}"
        note = "other requests than the baseline's; if that is meant: llmbench gate --update"
        yield VerdictRow(f"{name}: workload", change, "inconclusive", note)
        return
    for quantity, old in sorted(before.quantities.items()):
        known, new = QUANTITIES.get(quantity), after.quantities.get(quantity)
        yield _judge(f"{name}: {quantity}", known, old, new, rules.get(quantity))


def rules_of(name: str, run: BaselineRun) -> dict[str, Rule]:
    """What the run allows, by name. Raises ConfigError for `allowed` of that run: a rule that is
    none, or one of what no row is of."""
    field = f"runs.{name}.allowed"
    rules = [parse_rule(f"{key}={value}", field=field) for key, value in run.allowed.items()]
    for rule in rules:
        if rule.quantity.name not in (*GATED, *run.quantities):
            raise ConfigError(field, rule.quantity.name, f"what is gated: {', '.join(GATED)}")
    return {rule.quantity.name: rule for rule in rules}


def _judge(
    name: str, quantity: Quantity | None, old: float, new: float | None, rule: Rule | None
) -> VerdictRow:
    if quantity is None or new is None:
        return VerdictRow(name, f"{old:.10g} -> none", "inconclusive", "is not measured any more")
    change = _describe(quantity, old, new)
    if agree(old, new):
        return VerdictRow(name, change, "passed")
    size = 0.0 if quantity.better == "none" else abs(new - old) / abs(old) if old else math.inf
    any_change = quantity.better == "none" or (rule is not None and rule.both_ways)
    if not any_change and (new > old) == (quantity.better == "higher"):
        return VerdictRow(name, change, "improved", size=size)
    if rule is not None:
        room = rule.allowed * abs(old) if rule.relative else rule.allowed
        if abs(new - old) <= room * (1 + ROUNDING):
            return VerdictRow(name, change, "passed", f"within {rule.text.partition('=')[2]}")
    note = "any change counts" if any_change else ""
    return VerdictRow(name, change, "regressed", note, size)


def _describe(quantity: Quantity, old: float, new: float) -> str:
    values = levels(old, new, quantity.unit, digits=6)
    if not old or old == new:
        return values
    times = new / old
    return f"{values} ({f'{times:.3g}x' if times >= 10 else f'{(times - 1) * 100:+.3g} %'})"


def _named(name: str, run: BaselineRun, simulate: Simulate) -> BaselineRun:
    try:
        return run_of(run.options, simulate(run.options))
    except InvalidRun as error:
        raise InvalidRun(f"runs.{name}: {error}") from error
    except (ConfigError, WorkloadError) as error:
        error.args = (f"runs.{name}: {error}",)
        raise
    except Exception as error:
        error.add_note(f"runs.{name}")
        raise


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
