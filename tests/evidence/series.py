"""A long series of trials of equal sides and of a slowed one, and the gates it is cut into."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
from llmbench.harness.ab.compare import LOOKS, Length
from llmbench.harness.ab.judge import Answer, Judge, Question, worsening
from llmbench.harness.ab.side import SideOptions, WorkerSide
from llmbench.harness.ab.turns import quad
from llmbench.harness.comparison.quantities import find_quantity
from llmbench.harness.stats.power import centred, needed

KINDS = ("equal", "slow")
METRICS = ("output_throughput.run", "ttft.mean", "tpot.mean")


@dataclass(frozen=True)
class Quad:
    """kind: equal or slow. a, b: the values of each side's two trials, by metric."""

    kind: str
    number: int
    a: tuple[dict[str, float], ...]
    b: tuple[dict[str, float], ...]


def collect(
    tree: Path,
    slowed: Path,
    options: Sequence[str],
    out: Path,
    *,
    minutes: float,
    num_requests: int,
    kinds: Sequence[str] = KINDS,
) -> None:
    """Append quads to `out` until time is up, the kinds by turns: each is a line as soon as it is
    measured, so that a series that was cut off goes on."""
    began_s = monotonic()
    number = sum(1 for _ in read(out)) if out.exists() else 0
    with ExitStack() as stack, out.open("a", encoding="utf-8") as file:
        sides = {
            name: stack.enter_context(WorkerSide(SideOptions(name, options, where)))
            for name, where in (("a", tree), ("equal", tree), ("slow", slowed))
        }
        for side in sides.values():
            side.trial(2**31, num_requests)
        while monotonic() - began_s < 60 * minutes:
            kind = kinds[number % len(kinds)]
            values: dict[str, list[dict[str, float]]] = {"a": [], "b": []}
            for turn in quad(number, seed=0, coin=0):
                side = sides["a" if turn.side == "a" else kind]
                measured = side.trial(turn.seed, num_requests).values
                values[turn.side].append({name: measured[name] for name in METRICS})
            line = {"kind": kind, "number": number, **values}
            file.write(json.dumps(line) + "\n")
            file.flush()
            number += 1


def read(path: Path) -> Iterator[Quad]:
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        yield Quad(data["kind"], data["number"], tuple(data["a"]), tuple(data["b"]))


def trials(quads: Sequence[Quad], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """A's and B's values, [quads, 2]."""
    a = np.array([[one[metric] for one in each.a] for each in quads])
    b = np.array([[one[metric] for one in each.b] for each in quads])
    return a, b


def gates(
    quads: Sequence[Quad], size: int, metrics: Sequence[str], allowed: float, effect: float
) -> Iterator[tuple[Answer, ...]]:
    """Every disjoint gate of so many quads, looked at as `llmbench ab` does with `auto`."""
    questions = [Question(find_quantity("m", name), allowed, effect) for name in metrics]
    after = Length(max_pairs=2 * size).looks_after(len(questions), 0.05)
    assert len(after) <= LOOKS
    for start in range(0, len(quads) - size + 1, size):
        judge, answers = Judge(questions, size), ()
        for count in after:
            cut = {name: trials(quads[start : start + count], name) for name in metrics}
            answers = judge.look(cut, final=count == size)
            if all(one.decided for one in answers):
                break
        yield answers


def quads_needed(pilot: Sequence[Quad], metric: str, allowed: float, effect: float) -> int | None:
    """As `llmbench ab` says after the pilot."""
    question = Question(find_quantity("m", metric), allowed, effect)
    noise = centred(worsening(question.quantity, *trials(pilot, metric)))
    return needed(noise, question.log_effect - question.log_allowed, 0.05)
