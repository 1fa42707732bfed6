"""Decode steps over caches in 16 and 8 bits, by one call and by single operations: all take turns,
step by step, in one process.

Goals: an eight-bit cache in one call is no slower than one in bfloat16 (`of_auto`, time over time,
at most 1), and one call is the faster for each of them (`of_single`, at most 1).
"""

from __future__ import annotations

from statistics import median

import pytest
import torch
from llmbench.engines.config import KV_DTYPES, engine_config
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.cases import Case
from llmbench.harness.bench.engine_turns import Side, time_by_turns
from llmbench.kernels.registry import select

# To force an operation, even to what would be chosen anyway, is to ask for single operations.
CHOSEN = select("rms_norm", torch.device("cpu"), torch.bfloat16).name
FORCED = {"one call": (), "single": (f"rms_norm={CHOSEN}",)}


@pytest.fixture(scope="module")
def sides(files: ModelFiles) -> dict[tuple[str, str], Side]:
    made = {}
    for kv_dtype in KV_DTYPES:
        for way, forced in FORCED.items():
            asked = engine_config(
                "paged", dtype="bfloat16", device="cpu", kv_dtype=kv_dtype, force_kernels=forced
            )
            side = made[kv_dtype, way] = Side(files, resolve(asked, files))
            side.load(lambda _: None)
    return made


@pytest.mark.benchmark(group="KV dtype")
@pytest.mark.parametrize(("batch", "context", "rounds"), [(1, 128, 5), (8, 128, 5), (8, 1024, 1)])
def test_decode_by_kv_dtype(
    benchmark, sides: dict[tuple[str, str], Side], batch: int, context: int, rounds: int
) -> None:
    case = Case("decode", batch, context)
    taken: dict[tuple[str, str], list[float]] = {which: [] for which in sides}
    for seed in range(rounds):
        timed = time_by_turns(case, list(sides.values()), seed)
        for which, one in zip(sides, timed, strict=True):
            taken[which] += one.durations_s
    step_s = {which: median(times) for which, times in taken.items()}
    benchmark.extra_info |= {"batch": batch, "context": context}
    for (kv_dtype, way), least in ((which, min(times)) for which, times in taken.items()):
        spent_s = step_s[kv_dtype, way]
        benchmark.extra_info[f"{kv_dtype}, {way}"] = {
            "min_ms": round(1e3 * least, 2),
            "median_ms": round(1e3 * spent_s, 2),
            "tokens_per_s": round(batch / spent_s, 1),
            "of_single": round(spent_s / step_s[kv_dtype, "single"], 3),
            "of_auto": round(spent_s / step_s["auto", way], 3),
        }
    print(f"\nbatch {batch}, context {context}:")
    for which in sides:
        print(f"  {', '.join(which)}: {benchmark.extra_info[', '.join(which)]}")
    benchmark.pedantic(
        time_by_turns, args=(case, [sides["int8", "one call"]], 0), rounds=1, iterations=1
    )
