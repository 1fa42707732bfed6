"""The gate on repeated runs: the rules and verdicts of `harness/gate/runs.py`, with intervals over
pairs of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...engines.errors import MissingError
from ..comparison.evidence import Finding
from ..comparison.output_lengths import length_warnings
from ..comparison.pairing import counts_repeat
from ..comparison.quantities import Quantity
from ..gate.rules import FIELD, FORM, Rule
from ..gate.runs import COUNTS_DIFFER, GateOutcome, Row, judge_all, refuse_other_kind
from ..gate.verdicts import INVALID, exit_code
from ..stats.bootstrap import Contrast
from .directory import Repeats
from .pairs import Sides, examine_repeats, match
from .pool import cautions


def gate_repeats(baseline: Repeats, current: Repeats, rules: Sequence[Rule]) -> GateOutcome:
    """Judge each rule by its interval over runs. Counts have one, too, for other requests give
    other counts; where every pair counts the same it has no width. Raises ConfigError as `gate`
    does, and for a side with a single repeat."""
    if not rules:
        raise MissingError(FIELD, "at least one --max-regression " + FORM)
    refuse_other_kind(baseline.runs[0], current.runs[0])
    names = (baseline.runs[0].result.label, current.runs[0].result.label)
    invalid = tuple(
        f"the {side} run's {run.directory.name} is not valid: {reason}"
        for side, repeats in (("baseline", baseline), ("current", current))
        for run, reason in repeats.invalid
    )
    if invalid:
        return GateOutcome(INVALID, (), invalid, (), *names)
    sides = match(baseline, current)

    def examined(quantity: Quantity, contrast: Contrast, confidence: float) -> Finding:
        return examine_repeats(sides, quantity, contrast=contrast, confidence=confidence)

    judged = judge_all(rules, examined, lambda _: True, same=sides.paired)
    rows = tuple(_exactly(row, sides) for row in judged)
    warnings = tuple(_warnings(baseline, current, sides, rules))
    return GateOutcome(exit_code(row.verdict for row in rows), rows, (), warnings, *names)


def _exactly(row: Row, sides: Sides) -> Row:
    """`exact` allows no pair to differ, so one that does decides, whatever the others say."""
    rule = row.rule
    if not (sides.paired and rule.exact):
        return row
    for before, after in zip(sides.baseline, sides.current, strict=True):
        if rule.quantity.value(before.result) != rule.quantity.value(after.result):
            return replace(row, verdict="regressed", note=f"{after.directory.name} differs")
    return row


def _warnings(
    baseline: Repeats, current: Repeats, sides: Sides, rules: Sequence[Rule]
) -> Iterator[str]:
    runs = (*sides.baseline, *sides.current)
    if current.runs[0].result.simulation is not None:
        yield "both runs are simulated: no rule covers how wrong the cost model is"
    elif any(rule.quantity.measured for rule in rules):
        yield (
            f"the sides were not run in turns: the intervals, over {_number(sides)}, cover how "
            "runs differ from one to the next, not a machine that changed between one side and "
            "the other; llmbench ab measures both in turns"
        )
    for side, repeats in (("baseline", baseline), ("current", current)):
        said = cautions([run.result for run in repeats.runs])
        yield from (f"the {side} run: {detail}" for detail in said)
    if not sides.paired:
        yield "the runs were not sent the same requests, so they are not paired"
    firsts = [side[0].result for side in (sides.baseline, sides.current)]
    yield from length_warnings(("the baseline", "the current run"), firsts)
    if sides.left_out:
        yield f"left out, for they have no pair: {', '.join(sides.left_out)}"
    counts = any(rule.quantity.kind == "count" for rule in rules)
    if counts and not all(counts_repeat(run.result) for run in runs):
        yield COUNTS_DIFFER


def _number(sides: Sides) -> str:
    if sides.paired:
        return f"{sides.fewest} pairs of runs"
    return f"{len(sides.baseline)} and {len(sides.current)} runs"
