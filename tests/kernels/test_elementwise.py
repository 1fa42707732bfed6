"""The references against transformers, and what should agree with it bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.kernels.reference.activation import silu_mul
from llmbench.kernels.reference.cache import cache_write
from llmbench.kernels.reference.norm import rms_norm
from llmbench.kernels.reference.rope import rope
from llmbench.kernels.registry import Implementation, implementations
from torch import Tensor

from .closeness import assert_near


def others(op: str, dtype: torch.dtype) -> list[Implementation]:
    """What may be selected here for a dtype."""
    return [
        one
        for one in implementations(op)
        if one.name != "reference" and one.when(torch.device("cpu"), dtype)
    ]


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


@pytest.mark.parametrize(
    "implementation", others("rms_norm", torch.float32), ids=lambda one: one.name
)
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


@pytest.mark.parametrize(
    ("implementation", "dtype"),
    [
        pytest.param(one, dtype, id=f"{one.name}-{dtype}")
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
        for one in others("rope", dtype)
    ],
)
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
