"""Launches of a Llama-3-8B layer: its down projection, attention and vocabulary. Weights are zeros,
for nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.fp4 import Fp4Weight
from llmbench.kernels.fp8 import E4M3, Fp8Weight
from llmbench.kernels.int4 import PackedInt4
from llmbench.kernels.quantized_kv import QuantizedKV
from llmbench.kernels.registry import Implementation, implementations
from llmbench.kernels.specs.spec import LLAMA_3_8B as SHAPE

from .triton_launches import Launch, launches

LINEAR = (
    "token_codes_kernel.token_codes_kernel",
    "codes_kernel.codes_kernel",
    "nibbles_kernel.nibbles_kernel",
    "w4a8_kernel.w4a8_kernel",
    "splits_kernel.add_splits_kernel",
)
N, K = SHAPE.hidden, SHAPE.intermediate


def _named(op: str, name: str) -> Implementation:
    return next(one for one in implementations(op) if one.name == name)


def _int4(group: int, zero: int) -> PackedInt4:
    ones = torch.ones(N, K // group, dtype=torch.bfloat16)
    zeros = torch.full((N, K // group), zero, dtype=torch.uint8)
    return PackedInt4(torch.zeros(N, K // 2, dtype=torch.uint8), ones, zeros, group)


def w4a16(rows: int, zero: int = 7, dtype: torch.dtype = torch.bfloat16) -> list[Launch]:
    linear = _named("w4a16_linear", "triton").function(_int4(SHAPE.group_size, zero), None, dtype)
    with launches(*LINEAR) as seen:
        linear(torch.zeros(rows, K, dtype=dtype))
    return seen


def w4a8(rows: int) -> list[Launch]:
    packed = _int4(SHAPE.group_size, 7)
    linear = _named("w4a8_linear", "triton").function(packed, None, torch.bfloat16)
    with launches(*LINEAR) as seen:
        linear(torch.zeros(rows, K, dtype=torch.bfloat16))
    return seen


def fp8(rows: int) -> list[Launch]:
    weight = Fp8Weight(torch.zeros(N, K, dtype=E4M3), torch.ones(N, 1), 1, K)
    linear = _named("fp8_linear", "triton").function(weight, None, torch.bfloat16)
    with launches(*LINEAR) as seen:
        linear(torch.zeros(rows, K, dtype=torch.bfloat16))
    return seen


def nvfp4(rows: int) -> list[Launch]:
    scales = torch.zeros(N, K // 16, dtype=torch.uint8)
    weight = Fp4Weight(torch.zeros(N, K // 2, dtype=torch.uint8), scales, torch.ones(N), "e4m3")
    linear = _named("fp4_linear", "triton-weight-only").function(weight, None, torch.bfloat16)
    with launches(*LINEAR) as seen:
        linear(torch.zeros(rows, K, dtype=torch.bfloat16))
    return seen


def attention(queries: tuple[int, ...], keys: tuple[int, ...]) -> list[Launch]:
    """Over the contiguous cache."""
    q = torch.zeros(sum(queries), SHAPE.heads, SHAPE.head_dim, dtype=torch.bfloat16)
    cache = torch.zeros(max(keys), SHAPE.kv_heads, SHAPE.head_dim, dtype=torch.bfloat16)
    batch = ContiguousBatch(queries, keys, (0,) * len(keys))
    kernels = "attention_kernel.attention_kernel", "attention_kernel.reduce_segments_kernel"
    with launches(*kernels) as seen:
        _named("contiguous_attention", "triton").function(q, cache, cache, batch, 0.1)
    return seen


def attention_over_codes(
    queries: tuple[int, ...], keys: int, codes: torch.dtype = E4M3
) -> list[Launch]:
    """Over the paged cache, in blocks of 16 tokens."""
    q = torch.zeros(sum(queries), SHAPE.heads, SHAPE.head_dim, dtype=torch.bfloat16)
    stored = torch.zeros(4, 16, SHAPE.kv_heads, SHAPE.head_dim, dtype=codes)
    scales = torch.ones(4, 16, SHAPE.kv_heads, dtype=torch.bfloat16)
    tables = torch.zeros(len(queries), keys // 16, dtype=torch.int64)
    batch = PagedBatch(queries, (keys,) * len(queries), tables)
    kernels = "attention_kernel.attention_kernel", "attention_kernel.reduce_segments_kernel"
    with launches(*kernels) as seen:
        _named("quantized_paged_attention", "triton").function(
            q, QuantizedKV(stored, stored, scales, scales), batch, 0.1
        )
    return seen


def sample(*, top_k: bool = False, top_p: bool = False, min_p: bool = False) -> list[Launch]:
    one = torch.ones(1)
    logits = torch.zeros(1, SHAPE.vocab, dtype=torch.bfloat16)
    with launches("sample_kernel.sample_kernel") as seen:
        _named("sample", "triton").function(
            logits,
            one,
            one.int() if top_k else None,
            one if top_p else None,
            one if min_p else None,
            one,
        )
    return seen


LAUNCHES: dict[str, Callable[[], list[Launch]]] = {
    **{f"w4a16, {rows} rows": partial(w4a16, rows) for rows in (32, 64)},
    "w4a16, 1 row": partial(w4a16, 1),
    "w4a16, 1 row, symmetric": partial(w4a16, 1, 8),
    "w4a16, 1 row, float16": partial(w4a16, 1, dtype=torch.float16),
    "w4a8, 1 row": partial(w4a8, 1),
    "w4a8, 64 rows": partial(w4a8, 64),
    "fp8, 1 row": partial(fp8, 1),
    "fp8, 64 rows": partial(fp8, 64),
    "nvfp4, 1 row": partial(nvfp4, 1),
    "contiguous decode, split": partial(attention, (1,), (2048,)),
    "contiguous decode": partial(attention, (1,) * 64, (2048,) * 64),
    "contiguous contexts": partial(attention, (512, 512), (512, 512)),
    "e4m3 decode, split": partial(attention_over_codes, (1,), 2048),
    "e4m3 decode": partial(attention_over_codes, (1,) * 64, 2048),
    "e4m3 contexts": partial(attention_over_codes, (512, 512), 512),
    "int8 contexts": partial(attention_over_codes, (512, 512), 512, torch.int8),
    "int8 decode": partial(attention_over_codes, (1,) * 64, 2048, torch.int8),
    "sample, nothing": sample,
    "sample, top-p": partial(sample, top_p=True),
    "sample, all three": partial(sample, top_k=True, top_p=True, min_p=True),
}


def runs_on(target: str, name: str) -> bool:
    """Of an NVIDIA target: before sm_89 none multiplies e4m3, and `triton-widened` runs instead."""
    return not name.startswith("fp8") or int(target.removeprefix("sm_")) >= 89
