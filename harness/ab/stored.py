"""A comparison as a file: every trial, so that whatever is said of it can be said again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from ..comparison.quantities import find_quantity
from ..errors import StoreError, unreadable
from ..gate.verdicts import Verdict
from ..storage.json_text import read_json
from .asked import Asked, AskedSide
from .compare import Outcome
from .judge import Answer, Question
from .protocol import Trial
from .trials import Dropped, LeftOut
from .turns import PAIRS_A_QUAD, SideName

KIND = "ab"
SCHEMA_VERSION = 2
_EXPECTED = "what 'llmbench ab --out' writes"


def as_json(outcome: Outcome, asked: Asked) -> dict[str, Any]:
    """Everything that was measured, for `--out`. status: `partial` if the comparison did not come
    to its end; left_out: trials that count for nothing."""
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "status": "partial" if outcome.partial else "complete",
        "failure": outcome.failure,
        "cut_short": outcome.cut_short,
        "asked": asdict(asked),
        "labels": outcome.labels,
        "versions": outcome.versions,
        "configs": outcome.configs,
        "pairs": outcome.pairs,
        "num_requests": outcome.num_requests,
        "coin": outcome.coin,
        "stopped": outcome.stopped,
        "idle_share": outcome.idle_share,
        "error_rate": outcome.error_rate,
        "questions": [_question(one) for one in outcome.questions],
        "answers": [_answer(one) for one in outcome.answers],
        "a": [asdict(trial) for trial in outcome.a],
        "b": [asdict(trial) for trial in outcome.b],
        "dropped": [asdict(one) for one in outcome.dropped],
        "left_out": [asdict(one) for one in outcome.left_out],
    }


def _question(question: Question) -> dict[str, Any]:
    return {
        "metric": question.quantity.name,
        "allowed": question.allowed,
        "effect": question.effect,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    found = {name: value for name, value in vars(answer).items() if name != "question"}
    return {**_question(answer.question), **found}


def read_comparison(path: Path, *, field: str = "ab") -> tuple[Outcome, Asked]:
    """What `as_json` made, again. Raises StoreError for `field`: no such file, another kind of
    file, another version of it, or one that is not whole."""
    try:
        told = read_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(field, path, _EXPECTED, error) from error
    except ValueError as error:
        raise StoreError(field, path, f"is not JSON; expected {_EXPECTED}") from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise StoreError(field, path, f"is no comparison; expected {_EXPECTED}")
    if (version := told.get("schema_version")) != SCHEMA_VERSION:
        said = f"has schema_version {version!r}; this version of llmbench reads {SCHEMA_VERSION}"
        raise StoreError(field, path, said)
    try:
        return _read_outcome(told), _read_asked(told["asked"])
    except KeyError as error:
        raise StoreError(field, path, f"has no {error}; expected {_EXPECTED}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreError(field, path, f"is damaged ({error}); expected {_EXPECTED}") from error


def _read_outcome(told: Mapping[str, Any]) -> Outcome:
    a, b = (tuple(map(_read_trial, told[side])) for side in ("a", "b"))
    if not len(a) == len(b) == told["pairs"] or len(a) % PAIRS_A_QUAD:
        raise ValueError(f"{len(a)} trials of A and {len(b)} of B are no {told['pairs']!r} pairs")
    return Outcome(
        labels=_two(told["labels"]),
        versions=_two(told["versions"]),
        configs=_two([dict(one) for one in told["configs"]]),
        answers=tuple(map(_read_answer, told["answers"])),
        pairs=len(a),
        num_requests=int(told["num_requests"]),
        coin=int(told["coin"]),
        a=a,
        b=b,
        stopped=str(told["stopped"]),
        idle_share=float(told["idle_share"]),
        failure=str(told["failure"]),
        dropped=tuple(Dropped(int(one["quad"]), str(one["why"])) for one in told["dropped"]),
        left_out=tuple(
            LeftOut(_one_of(one["side"], SideName), int(one["pair"]), _read_trial(one["trial"]))
            for one in told["left_out"]
        ),
        questions=tuple(map(_read_question, told["questions"])),
        error_rate=float(told["error_rate"]),
        cut_short=str(told["cut_short"]),
    )


def _one_of(value: Any, names: Any) -> Any:
    """names: a Literal."""
    if value not in get_args(names):
        raise ValueError(f"{value!r} is none of {', '.join(get_args(names))}")
    return value


def _two(values: Sequence[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _read_question(told: Mapping[str, Any]) -> Question:
    quantity = find_quantity("metric", told["metric"])
    return Question(quantity, float(told["allowed"]), float(told["effect"]))


def _read_answer(told: Mapping[str, Any]) -> Answer:
    return Answer(
        question=_read_question(told),
        verdict=_one_of(told["verdict"], Verdict),
        quads=int(told["quads"]),
        a=float(told["a"]),
        b=float(told["b"]),
        ratio=float(told["ratio"]),
        low=float(told["low"]),
        high=math.inf if told["high"] is None else float(told["high"]),
        detectable=told["detectable"],
        pairs_needed=told["pairs_needed"],
    )


def _read_trial(told: Mapping[str, Any]) -> Trial:
    values = {str(name): float(value) for name, value in told["values"].items()}
    return Trial(str(told["fingerprint"]), float(told["duration_s"]), values)


def _read_asked(told: Mapping[str, Any]) -> Asked:
    environment = dict(told["environment"])
    parts = (environment.get("cpu") or {}, *(environment.get("gpus") or ()))
    if not all(isinstance(one, dict) for one in parts):
        raise TypeError("a processor that is no mapping")
    return Asked(
        str(told["command"]),
        str(told["created_at"]),
        int(told["seed"]),
        _read_side(told["a"]),
        _read_side(told["b"]),
        environment,
    )


def _read_side(told: Mapping[str, Any]) -> AskedSide:
    return AskedSide(tuple(map(str, told["options"])), str(told["tree"]), str(told["commit"]))
