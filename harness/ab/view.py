"""A comparison as its report sees it: plain data, so that reports know no harness."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from ...reports.ab_model import Ab, AbAnswer, AbMetric, AbPair, AbSide, DroppedQuad
from .asked import Asked, AskedSide
from .compare import Outcome
from .judge import Answer, Question
from .protocol import Trial
from .turns import PAIRS_A_QUAD, SideName, quad
from .verdicts import verdicts_of


def view_of(outcome: Outcome, asked: Asked) -> Ab:
    """Everything that a report says of it, or draws."""
    answers = {one.question.quantity.name: one for one in outcome.answers}
    return Ab(
        a=_side(0, outcome, asked.a),
        b=_side(1, outcome, asked.b),
        metrics=tuple(_metric(one, answers.get(one.quantity.name)) for one in outcome.questions),
        pairs=tuple(_pairs(outcome)),
        dropped=tuple(DroppedQuad(PAIRS_A_QUAD * one.quad + 1, one.why) for one in outcome.dropped),
        num_requests=outcome.num_requests,
        stopped=outcome.stopped,
        failure=outcome.failure,
        idle_share=outcome.idle_share,
        error_rate=outcome.error_rate,
        cautions=verdicts_of(outcome).warnings,
        seed=asked.seed,
        coin=outcome.coin,
        command=asked.command,
        created_at=asked.created_at,
        environment=asked.environment,
    )


def _side(at: int, outcome: Outcome, asked: AskedSide) -> AbSide:
    return AbSide(
        outcome.labels[at],
        outcome.versions[at],
        shlex.join(asked.options),
        asked.tree,
        asked.commit,
        outcome.configs[at],
    )


def _metric(question: Question, answer: Answer | None) -> AbMetric:
    quantity = question.quantity
    return AbMetric(
        quantity.id,
        quantity.stat,
        quantity.unit,
        quantity.better,
        question.allowed,
        question.effect,
        None if answer is None else _answer(answer),
    )


def _answer(answer: Answer) -> AbAnswer:
    ends = (answer.low, answer.high) if math.isfinite(answer.high) else (None, None)
    return AbAnswer(
        answer.verdict,
        PAIRS_A_QUAD * answer.quads,
        answer.a,
        answer.b,
        answer.ratio,
        *ends,
        answer.detectable,
        answer.pairs_needed,
    )


def _pairs(outcome: Outcome) -> Iterator[AbPair]:
    """Every pair of which there is a trial, in the order that they were measured."""
    dropped = {one.quad for one in outcome.dropped}
    begun = outcome.pairs // PAIRS_A_QUAD + len(dropped)
    kept = [PAIRS_A_QUAD * at + of for at in range(begun) if at not in dropped for of in (0, 1)]
    trials: dict[int, dict[SideName, Trial]] = {
        pair: {"a": a, "b": b} for pair, a, b in zip(kept, outcome.a, outcome.b, strict=True)
    }
    for one in outcome.left_out:
        trials.setdefault(one.pair, {})[one.side] = one.trial
    for pair, of in sorted(trials.items()):
        values = {side: trial.values for side, trial in of.items()}
        turn = PAIRS_A_QUAD * (pair % PAIRS_A_QUAD)
        yield AbPair(
            place=pair + 1,
            # Whose turn is when, the coin alone decides.
            first=quad(pair // PAIRS_A_QUAD, 0, outcome.coin)[turn].side,
            counts=pair in kept,
            a=values.get("a"),
            b=values.get("b"),
        )
