"""Weight-only quantisation to 4 bits: a decode step at batch 1 reads a quarter of the bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...reports.claims_model import Claim, Evidence, verdict_of
from ..bench.bench_engine import bench_by_turns, cases
from ..comparison.enough import FEWEST_REQUESTS
from ..simulation.simulation_error import is_below, worst_factor
from .runs import Made, Runs, change

NAME = "int4"
TITLE = "INT4 weights"
SAYS = "INT4 weights alone double throughput"
JUDGED = "at least twice the output tokens a second of 16-bit weights, batch by batch (AWQ)"
TWICE = 2.0
METHODS = ("none", "awq")
SIMULATED_BATCHES = (1, 64)
MEASURED_BATCHES = (1, 8)
# Two passes that differ by more than this decide nothing.
STEADY = 0.2


def examine(runs: Runs, model: str, /, *, measure: bool) -> Claim:
    evidence = tuple(_evidence(runs, model, measure=measure))
    return Claim(NAME, TITLE, SAYS, JUDGED, verdict_of([one.held for one in evidence]), evidence)


def _evidence(runs: Runs, model: str, *, measure: bool) -> Iterator[Evidence]:
    for batch in SIMULATED_BATCHES:
        yield _simulated(runs, batch)
    if measure:
        yield from _measured(model)


def _simulated(runs: Runs, batch: int) -> Evidence:
    plain, packed = (
        runs.simulated(
            {
                "model": "llama-3-8b",
                "hardware": "h100",
                "engine": "vllm-v1",
                "quant": quant,
                "workload": "fixed",
                "max-concurrency": batch,
                "num-requests": max(8 * batch, FEWEST_REQUESTS),
            }
        )
        for quant in METHODS
    )
    return judge_simulated(plain, packed, batch)


def judge_simulated(plain: Made, packed: Made, batch: int) -> Evidence:
    """Nothing of runs that prove nothing, nor within the model's error of twice."""
    found = change(plain, packed, "output_throughput.run")
    short = is_below(found.ratio, TWICE, worst_factor())
    usable = found.sure and short is not None
    return Evidence(
        f"Llama-3-8B on an H100, {batch} at a time, prompts of 128 and replies of 64 tokens",
        f"output {found}" + ("" if usable else ", cannot be told"),
        not short if usable else None,
        True,
        (plain.command, packed.command),
    )


def _measured(model: str) -> Iterator[Evidence]:
    """Decode steps that both take in turns, so that a machine whose speed comes and goes favours
    neither; twice, each method first once."""
    passes = [_speed_ups(model, METHODS), _speed_ups(model, METHODS[::-1])]
    for at, batch in enumerate(MEASURED_BATCHES):
        yield judge(model, batch, passes[0][at], 1 / passes[1][at])


def judge(model: str, batch: int, one: float, other: float) -> Evidence:
    """one, other: how many times as fast the 4-bit weights are, by two passes."""
    apart = max(one, other) / min(one, other) - 1
    ratio = math.sqrt(one * other)
    return Evidence(
        f"{model}, a decode step of {batch}, in turns",
        f"{ratio:.2f} times as fast (two passes: {one:.2f} and {other:.2f})",
        ratio >= TWICE if apart <= STEADY else None,
        False,
        tuple(
            f"llmbench bench-engine --model {model} --quant {quant} --batch {batch}"
            for quant in METHODS
        ),
    )


def _speed_ups(model: str, methods: tuple[str, ...]) -> list[float]:
    """Of the second method over the first, by batch."""
    from ...engines.config import engine_config

    engines = [engine_config("paged", quant=quant) for quant in methods]
    asked = cases(MEASURED_BATCHES, [])
    *_, last = bench_by_turns(model, engines, asked, command=NAME)
    return [one.speed_up for one in last.results]
