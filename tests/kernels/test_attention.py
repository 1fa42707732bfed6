from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.reference import attention as reference
from llmbench.kernels.registry import Implementation, implementations, select
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


@dataclass(frozen=True)
class Case:
    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    head_dim: int = 64
    kv_heads: int = 2
    group: int = 3
    block_size: int = 16
    window: int | None = None


CASES = {
    "decode": Case((1, 1, 1), (1, 17, 33)),
    "decode, wide heads": Case((1, 1), (9, 150), head_dim=256, group=8, kv_heads=1),
    "decode, odd heads": Case((1, 1, 1), (16, 47, 3), head_dim=96, group=1, block_size=32),
    "decode, a head of 72": Case((1, 1), (16, 5), head_dim=72, group=4),
    "decode of one": Case((1,), (1,), head_dim=80, group=1, block_size=1),
    "prefill": Case((7, 1, 32), (7, 1, 32), head_dim=128, group=4),
    "a chunk with a past": Case((5, 3), (21, 40), head_dim=96, block_size=32),
    "mixed": Case((6, 4, 1, 1), (6, 20, 18, 1), group=8, kv_heads=1),
    "a decode before contexts": Case((1, 3, 1, 5, 1, 1), (9, 3, 1, 21, 40, 2), head_dim=64),
    "wide heads": Case((3, 1), (9, 5), head_dim=256, group=1, kv_heads=3, block_size=1),
    "an empty sequence": Case((2, 0, 1), (2, 0, 4)),
    "window, decode": Case((1, 1), (40, 5), window=7),
    "window, prefill": Case((20, 4), (20, 4), window=6),
    "window, a chunk with a past": Case((9, 2), (41, 30), window=8, block_size=4),
    "window of one": Case((4, 1), (6, 3), window=1),
    # From here on contexts and chunks that a kernel may cut into pieces.
    "long decode": Case((1, 1), (700, 257), group=4, kv_heads=1),
    "long decode, window": Case((1, 1), (700, 300), window=270, group=1),
    "long chunk": Case((70, 3, 1), (70, 300, 520), block_size=32),
    "long chunk, window": Case((90, 1), (400, 90), window=33, head_dim=80),
    "a group of ten": Case((2, 1), (300, 30), group=10, kv_heads=1),
    "a group of seventy": Case((2, 1), (5, 300), group=70, kv_heads=1, head_dim=16),
}


def _paged(case: Case, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, Tensor], PagedBatch]:
    """Random queries and caches; blocks of a sequence lie scattered, unused slots hold NaN."""
    counts = [-(-length // case.block_size) for length in case.kv_lengths]
    total = sum(counts) + 3
    shape = (total, case.block_size, case.kv_heads, case.head_dim)
    caches = _poisoned(shape, dtype), _poisoned(shape, dtype)
    free = torch.randperm(total).tolist()
    # Past a sequence's end a table holds a number that no cache has.
    tables = torch.full((len(counts), max(counts)), 10**6)
    for row, (count, length) in enumerate(zip(counts, case.kv_lengths, strict=True)):
        for column in range(count):
            tables[row, column] = block = free.pop()
            used = min(case.block_size, length - column * case.block_size)
            for cache in caches:
                cache[block, :used] = torch.randn(used, case.kv_heads, case.head_dim)
    return _queries(case, dtype), caches, PagedBatch(case.query_lengths, case.kv_lengths, tables)


def _contiguous(
    case: Case, dtype: torch.dtype
) -> tuple[Tensor, tuple[Tensor, Tensor], ContiguousBatch]:
    """Random queries and arenas; sequences lie in reverse order with gaps of NaN."""
    arena = sum(case.kv_lengths) + 5 * len(case.kv_lengths)
    shape = (arena, case.kv_heads, case.head_dim)
    caches = _poisoned(shape, dtype), _poisoned(shape, dtype)
    starts, end = [], arena
    for length in case.kv_lengths:
        end -= length + 5
        starts.append(end)
        for cache in caches:
            cache[end : end + length] = torch.randn(length, case.kv_heads, case.head_dim)
    return (
        _queries(case, dtype),
        caches,
        ContiguousBatch(case.query_lengths, case.kv_lengths, tuple(starts)),
    )


def _is_taken(implementation: Implementation, *arguments: object) -> bool:
    return implementation.takes is None or implementation.takes(*arguments)


def _poisoned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.full(shape, math.nan, dtype=dtype)


def _queries(case: Case, dtype: torch.dtype) -> Tensor:
    """Queries as a model has them: a view of the first heads of a fused projection."""
    heads = case.group * case.kv_heads
    fused = torch.randn(sum(case.query_lengths), heads + 2 * case.kv_heads, case.head_dim)
    return fused.to(dtype)[:, :heads]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("implementation", PAGED, ids=lambda one: one.name)
def test_paged(implementation: Implementation, case: Case, dtype: torch.dtype) -> None:
    q, caches, batch = _paged(case, dtype)
    scale = case.head_dim**-0.5
    expected = reference.paged_attention(q, *caches, batch, scale, case.window)
    out = _poisoned(q.shape, dtype)
    if not _is_taken(implementation, q, *caches, batch, scale, case.window, out):
        pytest.skip("not taken")
    returned = implementation.function(q, *caches, batch, scale, case.window, out)
    assert returned is out
    assert_near(out, expected)
    assert_near(implementation.function(q, *caches, batch, scale, case.window), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("implementation", CONTIGUOUS, ids=lambda one: one.name)
def test_contiguous(implementation: Implementation, case: Case, dtype: torch.dtype) -> None:
    q, caches, batch = _contiguous(case, dtype)
    scale = case.head_dim**-0.5
    expected = reference.contiguous_attention(q, *caches, batch, scale, case.window)
    out = _poisoned(q.shape, dtype)
    if not _is_taken(implementation, q, *caches, batch, scale, case.window, out):
        pytest.skip("not taken")
    returned = implementation.function(q, *caches, batch, scale, case.window, out)
    assert returned is out
    assert_near(out, expected)


def _any_case(choose: random.Random) -> Case:
    """A ragged batch: decodes, chunks with and without a past, sequences without new tokens."""
    query_lengths, kv_lengths = [], []
    for _ in range(choose.randint(1, 6)):
        new = choose.choice([0, 1, 1, choose.randint(2, 9), choose.randint(10, 100)])
        past = choose.choice([0, choose.randint(0, 40), choose.randint(0, 600)])
        query_lengths.append(new)
        kv_lengths.append(max(1, new + past))
    return Case(
        tuple(query_lengths),
        tuple(kv_lengths),
        head_dim=choose.choice([64, 80, 96, 128, 256]),
        kv_heads=choose.choice([1, 2, 3]),
        group=choose.choice([1, 3, 4, 8]),
        block_size=choose.choice([1, 16, 32]),
        window=choose.choice([None, 1, choose.randint(2, 40), choose.randint(41, 400)]),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("make", [_paged, _contiguous], ids=["paged", "contiguous"])
def test_any_ragged_batch(make: Callable[..., Any], dtype: torch.dtype) -> None:
    """Fresh batches each run; what fails names its case."""
    op = "paged_attention" if make is _paged else "contiguous_attention"
    choose = random.Random()
    for _ in range(8):
        case = _any_case(choose)
        q, caches, batch = make(case, dtype)
        scale = case.head_dim**-0.5
        expected = getattr(reference, op)(q, *caches, batch, scale, case.window)
        for one in others(op):
            out = _poisoned(q.shape, dtype)
            one.function(q, *caches, batch, scale, case.window, out)
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
    case = Case((1, 90, 1, 7), (900, 300, 3, 607))
    q, caches, batch = _contiguous(case, dtype)
    together = implementation.function(q, *caches, batch, 0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(implementation.function(q, *caches, batch, 0.1), together)
    finally:
        torch.set_num_threads(threads)
    parts = zip(q.split(case.query_lengths), together.split(case.query_lengths), strict=True)
    paged = {one.name: one for one in PAGED}[implementation.name]
    for i, (alone, expected) in enumerate(parts):
        length = case.kv_lengths[i]
        one = ContiguousBatch(case.query_lengths[i : i + 1], (length,), batch.starts[i : i + 1])
        assert torch.equal(implementation.function(alone, *caches, one, 0.1), expected)
        blocks = [cache[batch.starts[i] :][:length, None] for cache in caches]
        tables = PagedBatch(case.query_lengths[i : i + 1], (length,), torch.arange(length)[None])
        contiguous = [block.contiguous() for block in blocks]
        assert torch.equal(paged.function(alone, *contiguous, tables, 0.1), expected)


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_a_key_that_is_not_a_number_is_not_hidden(implementation: Implementation) -> None:
    for length in (1, 40):
        q, caches, batch = _contiguous(Case((length,), (60,)), torch.float32)
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
    q, caches, batch = _paged(Case((1,), (9,), head_dim=72), torch.float32)
    paged = select("paged_attention", torch.device("cpu"), torch.float32).function
    with torch.inference_mode():
        inside = paged(q, *caches, batch, 0.1)
    assert torch.equal(inside, paged(q, *caches, batch, 0.1))
