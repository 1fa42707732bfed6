"""What a comparison found, as every report of a gate takes it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...engines.forced import forced_within
from ..gate.change import levels, percent
from ..gate.verdicts import INVALID, VerdictRow, Verdicts, exit_code
from .compare import Outcome
from .judge import Answer, Question


def verdicts_of(outcome: Outcome) -> Verdicts:
    """A row a metric, with what so many pairs could find and what the wanted effect would need; no
    row of a comparison that proves nothing."""
    rows = tuple(
        VerdictRow(_name(one.question), describe(one), one.verdict, reach(one))
        for one in outcome.answers
    )
    if outcome.cut_short:
        rows = tuple(_seen(outcome))
    return Verdicts(
        "llmbench ab",
        INVALID if outcome.failure else exit_code(row.verdict for row in rows),
        rows,
        (
            f"A {outcome.labels[0]}, B {outcome.labels[1]}",
            f"{outcome.pairs} pairs of trials of {outcome.num_requests} requests: "
            f"{outcome.stopped or 'it did not come to its end'}",
        ),
        (outcome.failure,) if outcome.failure else (),
        (*_dropped(outcome), *_forced(outcome)),
        outcome.cut_short,
    )


def _seen(outcome: Outcome) -> Iterator[VerdictRow]:
    """What the pairs of a comparison that was cut short came to, judged by nothing."""
    for question in outcome.questions if outcome.pairs else ():
        name = question.quantity.name
        a, b = (np.array([one.values[name] for one in side]) for side in (outcome.a, outcome.b))
        ratio = float(np.exp(np.mean(np.log(b) - np.log(a))))
        values = levels(float(np.median(a)), float(np.median(b)), question.quantity.unit)
        change = f"{percent(ratio)} % so far, median trials {values}"
        yield VerdictRow(_name(question), change, "inconclusive", "not judged")


def _dropped(outcome: Outcome) -> Iterator[str]:
    if outcome.dropped:
        one = len(outcome.dropped) == 1
        yield (
            f"{len(outcome.dropped)} quad{'' if one else 's'} of trials "
            f"{'was' if one else 'were'} dropped whole, whatever the trials that were valid "
            f"measured: {'; '.join(dict.fromkeys(one.why for one in outcome.dropped))}"
        )


def _forced(outcome: Outcome) -> Iterator[str]:
    """A side that forces an operation has no decode step in one kernel; the other may."""
    forced = [
        forced_within(one.partition("=")[0] for one in config.get("force_kernels") or ())
        for config in outcome.configs
    ]
    for side, own, others in zip("AB", forced, reversed(forced), strict=True):
        if own and not others:
            yield (
                f"{side} alone forces {', '.join(own)}: where a decode step is one kernel, as on a "
                "CPU, its steps are computed operation by operation, and that is in the "
                "difference; have the other side force ours (llmbench kernels list)"
            )


def _name(question: Question) -> str:
    return f"{question.quantity.name}={100 * question.allowed:.4g}%"


def describe(answer: Answer) -> str:
    """`+10.7 % (+2.1 to +19.0 %), median trials 12.1 -> 13.4 ms`: the verdict is on the ratio of
    turns that followed each other. The medians are for scale: in them is what the machine did from
    turn to turn, so they may even lie the other way, and then that is said."""
    values = levels(answer.a, answer.b, answer.question.quantity.unit)
    against = (answer.ratio - 1) * (answer.b - answer.a) < 0
    why = ", the other way, for turns far apart are in them" if against else ""
    return f"{percent(answer.ratio)} % ({_range(answer)}), median trials {values}{why}"


def _range(answer: Answer) -> str:
    if not math.isfinite(answer.high):
        return "too few pairs for an interval"
    return f"{percent(answer.low)} to {percent(answer.high)} %"


def reach(answer: Answer) -> str:
    """What so many pairs would find nine times in ten, and how many the wanted effect needs."""
    effect = f"{100 * answer.question.effect:.3g} %"
    found = "no slowdown would be found"
    if answer.detectable is not None:
        found = f"a slowdown of {100 * answer.detectable:.1f} % would be found nine times in ten"
    if answer.pairs_needed is None:
        return f"{found}; {effect} needs more than 1000 pairs"
    return f"{found}; {effect} needs {answer.pairs_needed} pairs"
