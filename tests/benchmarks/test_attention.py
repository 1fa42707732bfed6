"""Attention beside PyTorch's fused attention, and paged beside contiguous, in turn in one process.

PyTorch is given what suits it best: one tensor a batch, every head's keys in a row, made outside
the time. Goals: `sdpa_ratio`, how many times its speed, at least 1; `paged_ratio`, paged time over
contiguous, at most 1.03.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.registry import select
from torch import Tensor

BLOCK_SIZE = 16
SECONDS = 1.0
LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Heads:
    kv_heads: int
    group: int
    head_dim: int


@dataclass(frozen=True)
class Load:
    """`sequences` of `kv_length` tokens, of which `new` are computed."""

    sequences: int
    new: int
    kv_length: int


HEADS = {"smollm2": Heads(3, 3, 64), "llama-3-8b": Heads(8, 4, 128)}
LOADS = {
    "prefill 128": Load(1, 128, 128),
    "prefill 512": Load(1, 512, 512),
    "prefill 2048": Load(1, 2048, 2048),
    "chunk 256 at 2048": Load(1, 256, 2304),
    "decode 128": Load(1, 1, 128),
    "decode 8 x 128": Load(8, 1, 128),
    "decode 2048": Load(1, 1, 2048),
    "decode 8 x 2048": Load(8, 1, 2048),
}


@pytest.mark.benchmark(group="attention")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS.keys())
def test_attention(benchmark, heads: Heads, load: Load, dtype: torch.dtype) -> None:
    device, scale = torch.device("cpu"), heads.head_dim**-0.5
    tokens = load.sequences * load.kv_length
    q = torch.randn(load.sequences * load.new, heads.kv_heads * heads.group, heads.head_dim)
    q = q.to(dtype)
    k, v = (torch.randn(tokens, heads.kv_heads, heads.head_dim).to(dtype) for _ in "kv")
    lengths = ((load.new,) * load.sequences, (load.kv_length,) * load.sequences)
    runs = ContiguousBatch(*lengths, tuple(range(0, tokens, load.kv_length)))
    tables = torch.randperm(tokens // BLOCK_SIZE).view(load.sequences, -1)
    blocks = [cache.view(-1, BLOCK_SIZE, *cache.shape[1:]) for cache in (k, v)]
    contiguous = select("contiguous_attention", device, dtype)
    paged = select("paged_attention", device, dtype).function
    took_s = in_turn(
        {
            "contiguous": lambda: contiguous.function(q, k, v, runs, scale),
            "paged": lambda: paged(q, *blocks, PagedBatch(*lengths, tables), scale),
            "sdpa": sdpa(q, k, v, heads, load, scale),
        }
    )
    seen = sum(range(load.kv_length - load.new + 1, load.kv_length + 1)) * load.sequences
    flop = 4 * seen * heads.kv_heads * heads.group * heads.head_dim
    least = {name: min(times) for name, times in took_s.items()}
    benchmark.extra_info |= {
        "kernel": contiguous.name,
        "threads": torch.get_num_threads(),
        "sdpa_ratio": round(least["sdpa"] / least["contiguous"], 2),
        "paged_ratio": round(least["paged"] / least["contiguous"], 3),
        "least_us": round(least["contiguous"] * 1e6, 1),
        "median_us": round(median(took_s["contiguous"]) * 1e6, 1),
        "gflop_per_s": round(flop / least["contiguous"] / 1e9, 1),
        "gb_per_s": round((k.nbytes + v.nbytes) / least["contiguous"] / 1e9, 1),
    }
    print(f"\n{dict(benchmark.extra_info)}")
    benchmark.pedantic(lambda: contiguous.function(q, k, v, runs, scale), rounds=2)


def in_turn(calls: dict[str, Callable[[], Tensor]]) -> dict[str, list[float]]:
    """Seconds of each call, a round after the other, so that all meet the same machine."""
    for call in calls.values():
        call()
    took_s: dict[str, list[float]] = {name: [] for name in calls}
    end_s = time.perf_counter() + SECONDS
    while time.perf_counter() < end_s or len(took_s["sdpa"]) < LEAST_ROUNDS:
        for name, call in calls.items():
            start_s = time.perf_counter()
            call()
            took_s[name].append(time.perf_counter() - start_s)
    return took_s


def sdpa(
    q: Tensor, k: Tensor, v: Tensor, heads: Heads, load: Load, scale: float
) -> Callable[[], Tensor]:
    """PyTorch's fused attention of the same batch. A decode's group is the rows of one query."""
    keys, values = (
        x.view(load.sequences, -1, heads.kv_heads, heads.head_dim).transpose(1, 2).contiguous()
        for x in (k, v)
    )
    if load.new == 1:
        rows = q.view(load.sequences, heads.kv_heads, heads.group, heads.head_dim)
        return lambda: F.scaled_dot_product_attention(rows, keys, values, scale=scale)
    rows = q.view(load.sequences, load.new, -1, heads.head_dim).transpose(1, 2).contiguous()
    keys, values = (x.repeat_interleave(heads.group, dim=1) for x in (keys, values))
    whole = load.new == load.kv_length
    mask = torch.ones(load.new, load.kv_length, dtype=torch.bool)
    mask = None if whole else mask.tril(load.kv_length - load.new)
    return lambda: F.scaled_dot_product_attention(
        rows, keys, values, attn_mask=mask, is_causal=whole, scale=scale
    )
