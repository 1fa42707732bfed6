"""Decode steps and a prompt with weights in 16, 8 and 4 bits: all take turns, step by step, in one
process, so that a machine whose memory comes and goes favours none.

Goals: at batch 1 4-bit weights at least double the speed of 16 bits, a prompt in W8A8 takes at most
two thirds of the time.
"""

from __future__ import annotations

from statistics import median

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.cases import Case
from llmbench.harness.bench.engine_turns import Side, time_by_turns

METHODS = ("none", "rtn", "rtn+int8-head", "int8", "w8a8")
ROUNDS = 6


@pytest.fixture(scope="module")
def sides(files: ModelFiles) -> dict[str, Side]:
    made = {}
    for method in METHODS:
        asked = engine_config("paged", dtype="bfloat16", device="cpu", quant=method)
        side = made[method] = Side(files, resolve(asked, files))
        side.load(lambda _: None)
    return made


@pytest.mark.benchmark(group="weight bits")
@pytest.mark.parametrize(
    "case",
    [Case("decode", 1, 128), Case("decode", 8, 128), Case("prefill", 1, 512)],
    ids=["decode-1", "decode-8", "prompt-512"],
)
def test_steps_by_weight_bits(benchmark, sides: dict[str, Side], case: Case) -> None:
    taken: dict[str, list[float]] = {method: [] for method in sides}
    for seed in range(ROUNDS):
        timed = time_by_turns(case, list(sides.values()), seed)
        for method, one in zip(sides, timed, strict=True):
            taken[method] += one.durations_s
    print(f"\n{case.name}:")
    for method, times in taken.items():
        by_turn = [base / one for base, one in zip(taken["none"], times, strict=True)]
        found = benchmark.extra_info[method] = {
            "min_ms": round(1e3 * min(times), 2),
            "median_ms": round(1e3 * median(times), 2),
            "speed_up": round(median(by_turn), 2),
        }
        print(f"  {method}: {found}")
    benchmark.pedantic(time_by_turns, args=(case, [sides["none"]], 0), rounds=1, iterations=1)
