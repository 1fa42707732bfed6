"""Linear maps at SmolLM2-135M's sizes beside PyTorch's own operators, interleaved in one process.

Few rows are bound by reading the weights: of each map there are copies enough that none is found
in the processor's cache. `extra_info` has the bytes and operations a second, and the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.registry import implementations, select
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows
from torch import Tensor

CPU, DTYPE = torch.device("cpu"), torch.bfloat16
GROUP_SIZE = 64
MORE_THAN_CACHES_BYTES = 96 * 2**20
ROUNDS = 5
Map = Callable[[Tensor], Tensor]


def dense(n: int, k: int) -> Tensor:
    return torch.randn(n, k).to(DTYPE)


def int8(n: int, k: int) -> W8A8Weight:
    return W8A8Weight(*quantize_rows(torch.randn(n, k)))


def int4(n: int, k: int) -> object:
    groups = (n, k // GROUP_SIZE)
    codes, zeros = torch.randint(0, 16, (n, k)), torch.randint(0, 16, groups)
    return pack_int4(codes, torch.full(groups, 0.01).half(), zeros, GROUP_SIZE)


WEIGHTS: dict[str, Callable[[int, int], object]] = {
    "linear": dense,
    "w8a8_linear": int8,
    "w4a16_linear": int4,
    "w4a8_linear": int4,
}


def seconds(maps: list[Map], x: Tensor) -> list[float]:
    took_s = []
    for one in maps:
        start_s = time.perf_counter()
        one(x)
        took_s.append(time.perf_counter() - start_s)
    return took_s


@pytest.mark.benchmark(group="linear")
@pytest.mark.parametrize("rows", [1, 2, 4, 8, 16, 32, 128, 512, 2048])
@pytest.mark.parametrize(
    ("n", "k"), [(960, 576), (576, 576), (3072, 576), (576, 1536), (49152, 576)]
)
@pytest.mark.parametrize("op", WEIGHTS)
def test_linear_beside_pytorch(benchmark, op: str, n: int, k: int, rows: int) -> None:
    if n > 10_000 and rows > 32:
        pytest.skip("the output projection computes sampled rows only")
    chosen = select(op, CPU, DTYPE)
    torchs = next(one for one in implementations(op) if one.name in ("torch", "torch-cpu"))
    ours: list[Map] = []
    theirs: list[Map] = []
    weight_bytes = 0
    while len(ours) < 2 or (rows <= 32 and weight_bytes * len(ours) < MORE_THAN_CACHES_BYTES):
        weight = WEIGHTS[op](n, k)
        ours.append(chosen.function(weight, None, DTYPE))
        theirs.append(torchs.function(weight, None, DTYPE))
        weight_bytes = ours[0].weight_bytes  # type: ignore[attr-defined]
    x = torch.randn(rows, k).to(DTYPE)
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for _ in range(ROUNDS):
        ours_s += seconds(ours, x)
        theirs_s += seconds(theirs, x)
    benchmark.extra_info |= {
        "implementation": chosen.name,
        "threads": torch.get_num_threads(),
        "median_us": round(median(ours_s) * 1e6, 1),
        "least_us": round(min(ours_s) * 1e6, 1),
        "gb_per_s": round(weight_bytes / median(ours_s) / 1e9, 1),
        "gflop_per_s": round(2 * rows * n * k / median(ours_s) / 1e9, 1),
        "pytorch_median_us": round(median(theirs_s) * 1e6, 1),
        "ratio": round(median(theirs_s) / median(ours_s), 2),
    }
    print(f"\n{op} {n} x {k}, {rows} rows: {dict(benchmark.extra_info)}")
    benchmark.pedantic(ours[0], args=(x,), rounds=2)
