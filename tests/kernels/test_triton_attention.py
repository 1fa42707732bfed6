"""Triton's attention over every cache: in the interpreter here, on a GPU where there is one."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.device_lengths import DeviceLengths
from llmbench.kernels.reference import attention as reference
from llmbench.kernels.registry import KernelError
from llmbench.kernels.specs.attention import PAGED, AttentionCase
from llmbench.kernels.triton import attention
from llmbench.kernels.triton.attention_blocks import SEGMENTS, segments

from . import test_attention as cases
from .closeness import assert_near
from .triton_checks import Checks, failures, report, triton_of
from .triton_launches import Launch, each_target, launches

# Long enough for its keys to be shared by programs: of 600, 5 and 1 keys.
SPLIT = AttentionCase((1, 1, 1), (600, 5, 1), head_dim=80, kv_heads=1, block_size=16)
MADE = {"paged": cases.paged, "contiguous": cases.contiguous}


def check(layout: str, case: AttentionCase, dtype: torch.dtype) -> None:
    q, caches, batch = MADE[layout](case, dtype)
    function = triton_of(f"{layout}_attention").function
    arguments = (q, *caches, batch, case.head_dim**-0.5, case.window)
    expected = getattr(reference, f"{layout}_attention")(*arguments)
    out = torch.full(q.shape, math.nan, dtype=dtype)
    assert function(*arguments, out) is out
    assert_near(out, expected)


def check_split(window: int | None, dtype: torch.dtype) -> None:
    """In segments, and to the bit what it was the first time."""
    assert segments(len(SPLIT.kv_lengths), SPLIT.kv_heads, max(SPLIT.kv_lengths)) == SEGMENTS
    q, caches, batch = cases.paged(SPLIT, dtype)
    expected = reference.paged_attention(q, *caches, batch, 0.1, window)
    paged = triton_of("paged_attention").function
    first = paged(q, *caches, batch, 0.1, window)
    assert_near(first, expected)
    assert torch.equal(first, paged(q, *caches, batch, 0.1, window))


def check_static_decodes(longest: int) -> None:
    """A graph for four sequences of up to `longest` keys serves three, of 21, 3 and 40."""
    q, caches, batch = cases.paged(AttentionCase((1, 1, 1), (21, 3, 40)), torch.float32)
    expected = reference.paged_attention(q, *caches, batch, 0.125)
    wide = torch.cat((q, q[:1]))
    own = DeviceLengths(
        torch.full((5,), -1, dtype=torch.int32),
        torch.tensor([21, 3, 40, 0], dtype=torch.int32),
    )
    tables = torch.cat((batch.block_tables, torch.full_like(batch.block_tables[:1], 10**6)))
    captured = PagedBatch((1,) * 4, (longest,) * 4, tables, own)
    out = triton_of("paged_attention").function(wide, *caches, captured, 0.125)
    assert_near(out[:3], expected)
    assert bool((out[3] == 0).all())


def check_static_contexts() -> None:
    """A graph for 20 tokens of 4 sequences serves 8 of 2, and touches no other row."""
    q, caches, batch = cases.contiguous(AttentionCase((5, 3), (21, 40)), torch.float32)
    expected = reference.contiguous_attention(q, *caches, batch, 0.125)
    wide = torch.cat((q, torch.full_like(q, math.nan), torch.full_like(q[:4], math.nan)))
    own = DeviceLengths(
        torch.tensor([0, 5, 8, 8, 8], dtype=torch.int32),
        torch.tensor([21, 40, 0, 0], dtype=torch.int32),
        torch.tensor([*batch.starts, 10**6, 10**6]),
    )
    captured = ContiguousBatch((5,) * 4, (64,) * 4, (0,) * 4, own)
    out = torch.full_like(wide, math.nan)
    triton_of("contiguous_attention").function(wide, *caches, captured, 0.125, None, out)
    assert_near(out[:8], expected)
    assert bool(out[8:].isnan().all())


def check_nan_is_not_hidden() -> None:
    """A NaN among the keys or values of one sequence, and not in another's result."""
    for which in range(2):
        q, caches, batch = cases.contiguous(AttentionCase((1, 1), (9, 9)), torch.float32)
        caches[which][batch.starts[0] + 4, 0, 7] = math.nan
        out = triton_of("contiguous_attention").function(q, *caches, batch, 0.125)
        assert bool(out[0, :3].isnan().any())
        assert bool(out[0, 3:].isfinite().all())
        assert bool(out[1].isfinite().all())


def check_layouts() -> None:
    """Queries, tables and a result that lie apart in memory; block tables of int32."""
    q, caches, batch = cases.paged(AttentionCase((3, 1), (20, 9)), torch.float32)
    expected = reference.paged_attention(q, *caches, batch, 0.125)
    tables = batch.block_tables.to(torch.int32).T.contiguous().T
    apart = PagedBatch(batch.query_lengths, batch.kv_lengths, tables)
    room = torch.full((*q.shape, 2), math.nan)
    q_apart = torch.stack((q, torch.full_like(q, math.nan)), dim=-1)[..., 0]
    paged = triton_of("paged_attention").function
    assert paged(q_apart, *caches, apart, 0.125, None, room[..., 0]) is not None
    assert_near(room[..., 0], expected)
    assert bool(room[..., 1].isnan().all())


CHECKS: Checks = {
    **{
        f"paged, {name}, {dtype}": partial(check, "paged", case, dtype)
        for name, case in PAGED.cases.items()
        if name not in PAGED.tiny  # those `test_every_implementation` tries
        for dtype in (torch.float32, torch.bfloat16)
    },
    "contiguous, mixed": partial(
        check, "contiguous", PAGED.cases["mixed: a decode before contexts"], torch.float16
    ),
    "split": partial(check_split, None, torch.float32),
    "split, with a window": partial(check_split, 70, torch.bfloat16),
    "static decodes": partial(check_static_decodes, 64),
    "static decodes, split": partial(check_static_decodes, 4096),
    "static contexts": check_static_contexts,
    "NaN": check_nan_is_not_hidden,
    "layouts": check_layouts,
}


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str]:
    return failures("test_triton_attention")


@pytest.mark.parametrize("name", CHECKS)
def test_interpreted(name: str, interpreted: dict[str, str]) -> None:
    assert interpreted[name] == ""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CHECKS)
def test_on_gpu(name: str) -> None:
    with torch.device("cuda"):
        CHECKS[name]()


def test_a_contiguous_batch_with_lengths_on_the_device_needs_starts() -> None:
    q, caches, batch = cases.contiguous(AttentionCase((1,), (3,)), torch.float32)
    own = DeviceLengths(torch.tensor([0, 1]), torch.tensor([3]))
    captured = ContiguousBatch((1,), (3,), batch.starts, own)
    with pytest.raises(KernelError, match="need starts"):
        attention.contiguous_attention(q, *caches, captured, 0.1)


def test_no_tokens_is_no_launch() -> None:
    q = torch.empty(0, 4, 64)
    cache, batch = torch.empty(8, 2, 64), ContiguousBatch((), (), ())
    with launches(*KERNELS) as seen:
        assert attention.contiguous_attention(q, cache, cache, batch, 0.1).shape == q.shape
    assert seen == []


KERNELS = "attention_kernel.attention_kernel", "attention_kernel.reduce_segments_kernel"
# Decode in segments; contexts; a window; heads and groups that are no powers of two.
COMPILED = {
    "split decode": AttentionCase((1,), (600,), head_dim=128, group=4, kv_heads=8),
    "decode": AttentionCase((1,) * 8, (40,) * 8, head_dim=256, group=8, kv_heads=1),
    "contexts": AttentionCase((40, 40), (40, 40), head_dim=128, group=4, kv_heads=8),
    "mixed, with a window": AttentionCase(
        (5, 1), (40, 9), head_dim=80, group=3, window=16, block_size=32
    ),
}


def _launched(
    case: AttentionCase, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, target: str
) -> list[Launch]:
    monkeypatch.setattr(attention, "on_amd", lambda: target.startswith("gfx"))
    # Tensors of the right types and shapes: nothing runs.
    tokens, heads = sum(case.query_lengths), case.group * case.kv_heads
    q = torch.empty(tokens, heads, case.head_dim, dtype=dtype)
    cache = torch.empty(4, case.block_size, case.kv_heads, case.head_dim, dtype=dtype)
    tables = torch.zeros(len(case.kv_lengths), 64, dtype=torch.int64)
    batch = PagedBatch(case.query_lengths, case.kv_lengths, tables)
    with launches(*KERNELS) as seen:
        attention.paged_attention(q, cache, cache, batch, 0.1, case.window)
    return seen


@each_target
@pytest.mark.parametrize("case", COMPILED.values(), ids=COMPILED.keys())
def test_compiles(case: AttentionCase, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _launched(case, torch.bfloat16, monkeypatch, target)
    assert len(found) == (2 if case is COMPILED["split decode"] else 1)
    for launch in found:
        assert launch.compile(target)


def test_compiles_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    (launch,) = _launched(COMPILED["contexts"], torch.float32, monkeypatch, "sm_80")
    assert launch.compile("sm_80")


def test_hopper_gets_its_own_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of 16 bytes that run beside the dot products of a warp group, or of a warp."""
    (contexts,) = _launched(COMPILED["contexts"], torch.bfloat16, monkeypatch, "sm_90")
    code = contexts.compile("sm_90")
    assert "wgmma.mma_async" in code
    assert "cp.async.cg.shared.global" in code
    decode, _ = _launched(COMPILED["split decode"], torch.bfloat16, monkeypatch, "sm_90")
    code = decode.compile("sm_90")
    assert "mma.sync" in code
    assert "cp.async.cg.shared.global" in code


if __name__ == "__main__":
    report(CHECKS)
