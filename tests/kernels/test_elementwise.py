"""rms_norm, rope, silu_mul and cache_write: against the reference, and it against transformers."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.kernels.reference.activation import silu_mul
from llmbench.kernels.reference.cache import cache_write
from llmbench.kernels.reference.norm import add_rms_norm, rms_norm
from llmbench.kernels.reference.rope import rope, rope_cache_write
from llmbench.kernels.registry import Implementation, implementations
from torch import Tensor

from .closeness import assert_near

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def others(op: str) -> list[Implementation]:
    """What is selected here for some dtype, and so may be called with any."""
    return [
        one
        for one in implementations(op)
        if one.name != "reference" and any(one.when(torch.device("cpu"), dtype) for dtype in DTYPES)
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 576), (7, 33), (5, 3, 64), (0, 16), (130, 576)], ids=str)
@pytest.mark.parametrize("implementation", others("rms_norm"), ids=lambda one: one.name)
def test_rms_norm(
    implementation: Implementation, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, weight = (3 * torch.randn(shape)).to(dtype), torch.randn(shape[-1]).to(dtype)
    assert_near(implementation.function(x, weight, 1e-5), rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 576), (7, 33), (0, 16), (130, 576)], ids=str)
@pytest.mark.parametrize("implementation", others("add_rms_norm"), ids=lambda one: one.name)
def test_add_rms_norm(
    implementation: Implementation, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, residual = (3 * torch.randn(shape)).to(dtype), torch.randn(shape).to(dtype)
    weight = torch.randn(shape[-1]).to(dtype)
    expected, total = add_rms_norm(x.clone(), residual.clone(), weight, 1e-5)
    assert torch.equal(total, x + residual)
    normed, summed = implementation.function(x, residual, weight, 1e-5)
    assert torch.equal(summed, total)
    assert_near(normed, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("normed", [False, True], ids=["plain", "q and k normed"])
@pytest.mark.parametrize("cache_shape", [(4, 16), (64,)], ids=["paged", "contiguous"])
@pytest.mark.parametrize(
    ("tokens", "group", "head_dim"), [(1, 3, 64), (5, 1, 80), (3, 8, 96), (2, 4, 128), (4, 1, 256)]
)
@pytest.mark.parametrize("implementation", others("rope_cache_write"), ids=lambda one: one.name)
def test_rope_cache_write(
    implementation: Implementation,
    tokens: int,
    group: int,
    head_dim: int,
    cache_shape: tuple[int, ...],
    normed: bool,
    dtype: torch.dtype,
) -> None:
    kv_heads = 2
    qkv = torch.randn(tokens, (group + 2) * kv_heads, head_dim).to(dtype)
    q_norm, k_norm = (torch.randn(head_dim).to(dtype) if normed else None for _ in "qk")
    angles = 100 * torch.rand(tokens, head_dim // 2)
    tables = angles.cos().to(dtype), angles.sin().to(dtype)
    slots = torch.randperm(64)[:tokens]
    shape = (*cache_shape, kv_heads, head_dim)
    ours, expected = ([torch.full(shape, math.nan, dtype=dtype) for _ in "kv"] for _ in range(2))
    (cos, sin), norms = tables, (q_norm, k_norm, 1e-6)
    expected_q = rope_cache_write(qkv, *norms, cos, sin, expected[0], expected[1], slots)
    q = implementation.function(qkv.clone(), *norms, cos, sin, *ours, slots)
    assert_near(q, expected_q)
    written = torch.zeros(64, dtype=torch.bool)
    written[slots] = True
    for cache, reference in zip(ours, expected, strict=True):
        flat = cache.view(64, kv_heads, head_dim)
        assert bool(flat[~written].isnan().all())
        assert_near(flat[slots], reference.view_as(flat)[slots])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "head_dim"), [(1, 64), (5, 80), (3, 96), (2, 128), (4, 256)])
@pytest.mark.parametrize("implementation", others("rope"), ids=lambda one: one.name)
def test_rope(
    implementation: Implementation, tokens: int, head_dim: int, dtype: torch.dtype
) -> None:
    fused = torch.randn(tokens, 5, head_dim).to(dtype)
    q, k = fused[:, :3], fused[:, 3:4]
    angles = 100 * torch.rand(tokens, head_dim // 2)
    tables = angles.cos().to(dtype), angles.sin().to(dtype)
    before = fused.clone()
    for ours, expected in zip(
        implementation.function(q, k, *tables), rope(q, k, *tables), strict=True
    ):
        assert_near(ours, expected)
    assert torch.equal(fused, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("tokens", "size"), [(1, 1536), (7, 33), (0, 8), (40, 1536)])
@pytest.mark.parametrize("implementation", others("silu_mul"), ids=lambda one: one.name)
def test_silu_mul(
    implementation: Implementation, tokens: int, size: int, dtype: torch.dtype
) -> None:
    gate_up = (3 * torch.randn(tokens, 2 * size)).to(dtype)
    before = gate_up.clone()
    assert_near(implementation.function(gate_up), silu_mul(gate_up))
    assert torch.equal(gate_up, before)


@pytest.mark.parametrize("cache_shape", [(6, 4, 2, 8), (24, 2, 8)], ids=["paged", "contiguous"])
@pytest.mark.parametrize("implementation", implementations("cache_write"), ids=lambda one: one.name)
def test_cache_write(implementation: Implementation, cache_shape: tuple[int, ...]) -> None:
    fused = torch.randn(5, 6, 8)
    k, v = fused[:, 2:4], fused[:, 4:]
    slots = torch.tensor([23, 0, 7, 8, 4])
    caches = torch.full(cache_shape, math.nan), torch.full(cache_shape, math.nan)
    implementation.function(k, v, *caches, slots)
    for new, cache in zip((k, v), caches, strict=True):
        flat = cache.view(24, 2, 8)
        assert torch.equal(flat[slots], new)
        # Written where asked, and nowhere else.
        assert int(flat.isnan().all(dim=(1, 2)).sum()) == 24 - len(slots)


def test_block_and_offset_make_the_slot() -> None:
    """Slot 6 of blocks of 4 tokens is block 1, offset 2."""
    k_cache, v_cache = torch.zeros(3, 4, 1, 2), torch.zeros(3, 4, 1, 2)
    k, v = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]])
    cache_write(k, v, k_cache, v_cache, torch.tensor([6]))
    assert k_cache[1, 2, 0].tolist() == [1.0, 2.0]
    assert v_cache[1, 2, 0].tolist() == [3.0, 4.0]


def test_rms_norm_by_hand() -> None:
    """mean(3², 4²) + 0 = 12.5; 3 / sqrt(12.5) = 0.848528…, 4 / sqrt(12.5) = 1.131371…"""
    y = rms_norm(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 10.0]), 0.0)
    assert y[0].tolist() == pytest.approx([0.8485281374, 11.313708499])


def test_silu_mul_by_hand() -> None:
    """silu(ln 3) = ln 3 · 3/4; the gate comes first."""
    y = silu_mul(torch.tensor([[math.log(3), 2.0]]))
    assert y.item() == pytest.approx(2 * math.log(3) * 0.75)


@pytest.mark.parametrize("implementation", others("rms_norm"), ids=lambda one: one.name)
def test_rms_norm_is_transformers_bit_for_bit(implementation: Implementation) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    module = LlamaRMSNorm(576, eps=1e-5)
    module.weight.data.normal_()
    x = torch.randn(9, 576)
    with torch.no_grad():
        assert torch.equal(implementation.function(x, module.weight, 1e-5), module(x))
    assert_near(rms_norm(x, module.weight.data, 1e-5), module(x).detach())


def _transformers_rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    cos, sin = (torch.cat((table, table), dim=-1)[None] for table in (cos, sin))
    turned = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], cos, sin)
    return tuple(x[0].transpose(0, 1) for x in turned)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("implementation", others("rope"), ids=lambda one: one.name)
def test_rope_is_transformers_bit_for_bit(
    implementation: Implementation, dtype: torch.dtype
) -> None:
    q, k = torch.randn(7, 4, 64).to(dtype), torch.randn(7, 2, 64).to(dtype)
    angles = 100 * torch.rand(7, 32)
    tables = angles.cos().to(dtype), angles.sin().to(dtype)
    theirs = _transformers_rope(q, k, *tables)
    for ours, expected in zip(implementation.function(q, k, *tables), theirs, strict=True):
        assert torch.equal(ours, expected)
    for ours, expected in zip(rope(q, k, *tables), theirs, strict=True):
        assert_near(ours, expected)
