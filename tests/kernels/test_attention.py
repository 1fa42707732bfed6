"""What `test_every_implementation` does not ask of attention: batches of any kind, results that do
not depend on company, and the reference against transformers and PyTorch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.reference import attention as reference
from llmbench.kernels.registry import Implementation, implementations, select
from llmbench.kernels.specs.attention import AttentionCase
from llmbench.kernels.specs.spec import Draw
from llmbench.kernels.specs.table import spec_of
from torch import Tensor

from .closeness import assert_near

DTYPES = [torch.float32, torch.bfloat16]


def others(op: str) -> list[Implementation]:
    """What is selected here for some dtype; these serve both."""
    return [
        one
        for one in implementations(op)
        if one.name != "reference" and any(one.when(torch.device("cpu"), dtype) for dtype in DTYPES)
    ]


PAGED, CONTIGUOUS = others("paged_attention"), others("contiguous_attention")


def paged(
    case: AttentionCase, dtype: torch.dtype
) -> tuple[Tensor, tuple[Tensor, Tensor], PagedBatch]:
    """Queries, caches and batch, as the shared suite makes them."""
    return _drawn("paged_attention", case, dtype)


def contiguous(
    case: AttentionCase, dtype: torch.dtype
) -> tuple[Tensor, tuple[Tensor, Tensor], ContiguousBatch]:
    """The same of the other layout."""
    return _drawn("contiguous_attention", case, dtype)


def _drawn(op: str, case: AttentionCase, dtype: torch.dtype) -> Any:
    draw = Draw(torch.get_default_device(), dtype, random.randrange(2**31))
    q, k_cache, v_cache, batch, *_ = spec_of(op).make(case, draw).arguments
    return q, (k_cache, v_cache), batch


def _poisoned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.full(shape, math.nan, dtype=dtype)


def _any_case(choose: random.Random) -> AttentionCase:
    """A ragged batch: decodes, chunks with and without a past, sequences without new tokens."""
    query_lengths, kv_lengths = [], []
    for _ in range(choose.randint(1, 6)):
        new = choose.choice([0, 1, 1, choose.randint(2, 9), choose.randint(10, 100)])
        past = choose.choice([0, choose.randint(0, 40), choose.randint(0, 600)])
        query_lengths.append(new)
        kv_lengths.append(max(1, new + past))
    return AttentionCase(
        tuple(query_lengths),
        tuple(kv_lengths),
        head_dim=choose.choice([64, 80, 96, 128, 256]),
        kv_heads=choose.choice([1, 2, 3]),
        group=choose.choice([1, 3, 4, 8]),
        block_size=choose.choice([1, 16, 32]),
        window=choose.choice([None, 1, choose.randint(2, 40), choose.randint(41, 400)]),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("make", [paged, contiguous], ids=["paged", "contiguous"])
def test_any_ragged_batch(make: Callable[..., Any], dtype: torch.dtype) -> None:
    """Fresh batches each run; what fails names its case."""
    op = "paged_attention" if make is paged else "contiguous_attention"
    choose = random.Random(random.randrange(2**32))
    for _ in range(8):
        case = _any_case(choose)
        q, caches, batch = make(case, dtype)
        scale = case.head_dim**-0.5
        expected = getattr(reference, op)(q, *caches, batch, scale, case.window)
        for one in others(op):
            out = _poisoned(q.shape, dtype)
            arguments = (q, *caches, batch, scale, case.window, out)
            if one.takes is not None and not one.takes(*arguments):
                continue
            one.function(*arguments)
            try:
                assert_near(out, expected)
            except AssertionError as error:
                raise AssertionError(f"{one.name}, {case}") from error


NATIVE = [one for one in CONTIGUOUS if one.name.startswith("native")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_a_result_depends_on_neither_company_nor_threads_nor_layout(
    implementation: Implementation, dtype: torch.dtype
) -> None:
    """Bit for bit, with contexts long enough to be cut."""
    case = AttentionCase((1, 90, 1, 7), (900, 300, 3, 607))
    q, caches, batch = contiguous(case, dtype)
    together = implementation.function(q, *caches, batch, 0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(implementation.function(q, *caches, batch, 0.1), together)
    finally:
        torch.set_num_threads(threads)
    parts = zip(q.split(case.query_lengths), together.split(case.query_lengths), strict=True)
    over_blocks = {one.name: one for one in PAGED}[implementation.name]
    for i, (alone, expected) in enumerate(parts):
        length = case.kv_lengths[i]
        one = ContiguousBatch(case.query_lengths[i : i + 1], (length,), batch.starts[i : i + 1])
        assert torch.equal(implementation.function(alone, *caches, one, 0.1), expected)
        blocks = [cache[batch.starts[i] :][:length, None] for cache in caches]
        tables = PagedBatch(case.query_lengths[i : i + 1], (length,), torch.arange(length)[None])
        lying = [block.contiguous() for block in blocks]
        assert torch.equal(over_blocks.function(alone, *lying, tables, 0.1), expected)


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_a_key_that_is_not_a_number_is_not_hidden(implementation: Implementation) -> None:
    for length in (1, 40):
        q, caches, batch = contiguous(AttentionCase((length,), (60,)), torch.float32)
        caches[0][batch.starts[0] + 7, 1, 3] = math.nan
        out = implementation.function(q, *caches, batch, 0.1)
        assert bool(out[:, 3:].isnan().all())
        assert bool(torch.isfinite(out[:, :3]).all())


def test_native_serves_both_dtypes_and_the_scalar_target_is_last() -> None:
    """Where a library can be built at all."""
    for dtype in DTYPES:
        usable = [
            one.name
            for one in implementations("paged_attention")
            if one.when(torch.device("cpu"), dtype) and one.name.startswith("native")
        ]
        assert not usable or usable[-1] == "native-generic"


@pytest.mark.parametrize("window", [None, 4], ids=str)
def test_reference_is_transformers_eager_attention(window: int | None) -> None:
    """Against transformers' own code for Llama (no window) and its masks for Mistral (window)."""
    from transformers import MistralConfig
    from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
    from transformers.models.mistral.modeling_mistral import (
        MistralAttention,
        eager_attention_forward,
    )

    length, heads, kv_heads, head_dim = 11, 6, 2, 8
    config = MistralConfig(
        hidden_size=heads * head_dim,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        sliding_window=window,
    )
    config._attn_implementation = "eager"
    make_mask = create_causal_mask if window is None else create_sliding_window_causal_mask
    mask = make_mask(
        config=config,
        inputs_embeds=torch.zeros(1, length, heads * head_dim),
        attention_mask=None,
        past_key_values=None,
    )
    q = torch.randn(length, heads, head_dim)
    k, v = torch.randn(2, length, kv_heads, head_dim).unbind()
    module = MistralAttention(config, layer_idx=0).eval()
    theirs, _ = eager_attention_forward(
        module,
        *(x.transpose(0, 1)[None] for x in (q, k, v)),
        attention_mask=mask,
        scaling=head_dim**-0.5,
    )
    batch = ContiguousBatch((length,), (length,), (0,))
    ours = reference.contiguous_attention(q, k, v, batch, head_dim**-0.5, window)
    assert_near(ours, theirs[0])


def test_reference_agrees_with_torch_on_a_chunk_with_a_past() -> None:
    """The last 3 of 10 tokens, with the mask written out."""
    q, k, v = torch.randn(3, 4, 16), torch.randn(10, 4, 16), torch.randn(10, 4, 16)
    mask = torch.tensor([[True] * 8 + [False] * 2, [True] * 9 + [False], [True] * 10])
    theirs = F.scaled_dot_product_attention(
        q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), attn_mask=mask, scale=0.25
    )
    ours = reference.contiguous_attention(q, k, v, ContiguousBatch((3,), (10,), (0,)), 0.25)
    assert_near(ours, theirs.transpose(0, 1))


def test_scratch_made_in_inference_mode_serves_outside_it() -> None:
    """Calibration and inference may share a process."""
    q, caches, batch = paged(AttentionCase((1,), (9,), head_dim=72), torch.float32)
    attend = select("paged_attention", torch.device("cpu"), torch.float32).function
    with torch.inference_mode():
        inside = attend(q, *caches, batch, 0.1)
    assert torch.equal(inside, attend(q, *caches, batch, 0.1))
