"""When runs show too little, whatever they show."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from llmbench.harness.compare import compare
from llmbench.harness.evidence import requests_needed, too_little
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.quantities import QUANTITIES
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Result
from llmbench.harness.store import StoredRun

from .observed import serve_in_turn
from .repeats.made import in_memory
from .stored import SIMULATION, stored_run


@cache
def run_of(
    seconds: float,
    *,
    slower: float = 1.0,
    seed: int = 1,
    simulated: bool = False,
    count: int = 150,
) -> StoredRun:
    """A closed loop of one, of about that many seconds if `slower` is 1."""
    rng = np.random.default_rng(seed)
    step_s = slower * seconds / count / 8
    served = serve_in_turn(count, step_s=lambda: float(step_s * rng.lognormal(-0.02, 0.2)))
    return stored_run(
        *served,
        label=f"{slower:g} {seed}",
        config={"seed": seed},
        simulation=SIMULATION if simulated else None,
    )


def results(*runs: StoredRun) -> list[Result]:
    return [run.result for run in runs]


def test_a_short_run_shows_too_little_and_several_together_are_as_long_as_all() -> None:
    short, long = results(run_of(3.0)), results(run_of(9.0))
    assert too_little([long, long], "ttft.mean") == ""
    assert too_little([long, short], "ttft.mean") == (
        f"a run of {short[0].duration_s:.1f} s is too short (at least 5 s)"
    )
    assert too_little([long, short * 2], "ttft.mean") == ""
    assert "together are too short" in too_little([long, results(run_of(1.0)) * 2], "ttft.mean")


def test_virtual_time_is_never_too_short_and_may_have_too_few_requests() -> None:
    short = results(run_of(3.0, simulated=True))
    assert too_little([short, short], "ttft.p99", needed=150) == ""
    assert too_little([short, short], "ttft.p99", needed=requests_needed(99)) == (
        "150 served requests are too few for ttft.p99, which needs 299"
    )
    assert "too short" in too_little([short, results(run_of(3.0))], "ttft.mean")


@pytest.mark.parametrize("simulated", [False, True], ids=["measured", "simulated"])
def test_comparison_and_gate_and_repeats_take_three_seconds_alike(simulated: bool) -> None:
    """Half as slow again: seen by none where time is real, by all where it is virtual."""

    def made(seconds: float, slower: float, seed: int) -> StoredRun:
        return run_of(seconds, slower=slower, seed=seed, simulated=simulated)

    before, after = made(3.0, 1.0, 1), made(3.0, 1.5, 2)
    rows = {f"{row.id}.{row.stat}": row for row in compare([before, after]).rows}
    ratio = rows["tpot.mean"].ratios[1]
    assert ratio is not None
    assert ratio.verdict == ("worse" if simulated else "inconclusive")
    (row,) = gate(before, after, [parse_rule("tpot.mean=10%")]).rows
    assert row.verdict == ("regressed" if simulated else "inconclusive")
    sides = [
        in_memory(name, [made(1.0, slower, seed) for seed in (1, 2)])
        for name, slower in (("a", 1.0), ("b", 1.5))
    ]
    found = examine_repeats(match(*sides), QUANTITIES["tpot.mean"])
    assert bool(found.too_little) is not simulated
