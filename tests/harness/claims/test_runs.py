"""Runs that claims rest on: made once, held against each other, and said as commands."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from llmbench.harness.claims.runs import Made, Runs, change
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.result import Check
from llmbench.harness.run.drive import Progress

from ..observed import serve_in_turn
from ..stored import stored_run


class Told:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, progress: Progress) -> None: ...


@cache
def made(slower: float, seed: int, *, simulated: bool = False, count: int = 150) -> Made:
    """A closed loop of one with steps of 10 ms give or take a fifth, `slower` times as long."""
    rng = np.random.default_rng(seed)
    served = serve_in_turn(count, step_s=lambda: float(slower * 0.01 * rng.lognormal(0, 0.2)))
    return Made("llmbench run", Observed(stored_run(*served)), simulated)


def disturbed(run: Made) -> Made:
    """The same, while others had the processors."""
    check = Check(id="machine", ok=False, fatal=False, detail="other processes used 40 %")
    stored = run.observed.stored
    validity = stored.result.validity
    result = stored.result.model_copy(
        update={"validity": validity.model_copy(update={"checks": (*validity.checks, check)})}
    )
    return Made(
        run.command,
        Observed(type(stored)(stored.directory, result, stored.requests, stored.steps)),
        run.simulated,
    )


def test_a_known_factor_is_sure() -> None:
    found = change(made(1.0, 1), made(1.5, 2), "e2el.mean")
    assert found.ratio == pytest.approx(1.5, rel=0.1)
    assert (found.rose(), found.fell()) == (True, False)
    back = change(made(1.5, 2), made(1.0, 1), "e2el.mean")
    assert (back.rose(), back.fell()) == (False, True)
    assert str(found).endswith(f"{found.ratio:.2f}×")
    assert " → " in found.values


def test_no_difference_is_not_decided() -> None:
    found = change(made(1.0, 1), made(1.0, 1), "e2el.mean")
    assert (found.rose(), found.fell()) == (None, None)


@pytest.mark.parametrize("which", [0, 1])
def test_a_disturbed_run_decides_nothing(which: int) -> None:
    pair = [made(1.0, 1), made(1.5, 2)]
    pair[which] = disturbed(pair[which])
    assert change(pair[0], pair[1], "e2el.mean").rose() is None


def test_a_run_is_made_once_and_said_as_its_command() -> None:
    told = Told()
    runs = Runs(told)
    options = {"model": "llama-3-8b", "hardware": "h100", "num-requests": 3, "engine": "paged"}
    first = runs.simulated(options)
    assert runs.simulated(dict(options)) is first
    command = "llmbench simulate --model llama-3-8b --hardware h100 --num-requests 3 --engine paged"
    assert first.command == command
    assert told.stages.count(command) == 1
    assert first.simulated
    assert first.result.counters.requests_ok == 3
    assert not first.objections


def test_a_capacity_is_searched_by_its_command() -> None:
    options = {"model": "llama-3-8b", "hardware": "h100", "num-requests": 4, "slo": "ttft:1us"}
    found, command = Runs(Told()).capacity(options, 0.5)
    assert found.search.outcome == "never"
    assert found.search.target == 0.5
    assert command == (
        "llmbench capacity --model llama-3-8b --hardware h100 --num-requests 4 --slo ttft:1us "
        "--attainment 50%"
    )
