"""Triton's eight-bit cache: in the interpreter here, on a GPU where there is one."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.quantized_kv import QuantizedKV
from llmbench.kernels.reference import quantized_kv as reference
from llmbench.kernels.specs.attention import AttentionCase
from llmbench.kernels.specs.cache import E4M3, WriteCase
from llmbench.kernels.specs.spec import Draw
from llmbench.kernels.specs.table import SPECS
from llmbench.kernels.triton import attention, quantized_kv

from . import test_quantized_kv as cases
from .closeness import assert_near
from .triton_checks import Checks, failures, report, triton_of
from .triton_launches import each_target, launches

HALF_AND_WIDE = (torch.float32, torch.float16, torch.bfloat16)
CODES = {"int8": torch.int8, "fp8": E4M3}
PAGED, CONTIGUOUS = "quantized_paged_attention", "quantized_contiguous_attention"


def _drawn(op: str, case: object, dtype: torch.dtype) -> tuple[Any, ...]:
    """Fresh arguments for a call of `op`."""
    seed = int(torch.randint(2**31, ()))
    return SPECS[op].make(case, Draw(torch.get_default_device(), dtype, seed)).arguments


def check_case(op: str, name: str, dtype: torch.dtype) -> None:
    """One of the specification's cases over e4m3: the even elements of a head and the odd ones."""
    call = _drawn(op, SPECS[op].cases[f"{name}, fp8"], dtype)
    q, cache, batch, scale, window, _ = call
    expected = getattr(reference, op)(q, cache, batch, scale, window)
    assert_near(triton_of(op).function(q, cache, batch, scale, window), expected)


def check_every_e4m3_code(in_keys: bool, odd: int, dtype: torch.dtype) -> None:
    """Each of the 254 finite ones as an even or odd element of a head of which the rest is 0, and
    which one sequence attends to alone, or beside a key of zeros."""
    codes = torch.arange(256, dtype=torch.uint8)
    codes = codes[codes & 0x7F != 0x7F]
    count, scales = len(codes), torch.ones(2 * len(codes), 1, dtype=torch.bfloat16)
    heads = torch.zeros(2, count, 2, 1, 64, dtype=torch.uint8)
    heads[0 if in_keys else 1, :, 0, 0, 36 + odd] = codes
    if in_keys:
        heads[1, :, 0] = 0x38  # 1
    keys, values = (one.flatten(0, 1).view(E4M3) for one in heads)
    cache = QuantizedKV(keys, values, scales, scales)
    lengths = (2 if in_keys else 1,) * count
    batch = ContiguousBatch((1,) * count, lengths, tuple(range(0, 2 * count, 2)))
    q = torch.randn(count, 3, 64).to(dtype)
    call = q, cache, batch, 0.01 if in_keys else 1.0
    found = triton_of(CONTIGUOUS).function(*call)
    expected = reference.quantized_contiguous_attention(*call)
    if in_keys:
        assert_near(found, expected)
    else:
        assert torch.equal(found, expected)


def check_nan_is_not_hidden(codes: torch.dtype, dtype: torch.dtype) -> None:
    """A key or a value that is not finite in one KV head of one sequence is a NaN there, as the
    reference has it, and in no other."""
    for which in range(2):
        q, cache, batch, *rest = _drawn(
            CONTIGUOUS, AttentionCase((1, 2), (9, 40), into_out=False, codes=codes), dtype
        )
        kv = torch.randn(2, 1, 2, 64)
        kv[which, 0, 1, 7] = math.inf
        slots = torch.tensor([batch.starts[1] + 4])
        reference.quantized_cache_write(kv[0], kv[1], cache, slots)
        expected = reference.quantized_contiguous_attention(q, cache, batch, *rest)
        found = triton_of(CONTIGUOUS).function(q, cache, batch, *rest)
        assert bool(expected[1:, 3:].isnan().all())
        assert torch.equal(found.isnan(), expected.isnan())


def check_split(codes: torch.dtype) -> None:
    """Keys shared by programs, in a batch of one short and one long sequence."""
    case = AttentionCase((1, 1), (600, 3), kv_heads=1, into_out=False, codes=codes)
    call = _drawn(PAGED, case, torch.bfloat16)
    expected = reference.quantized_paged_attention(*call)
    assert_near(triton_of(PAGED).function(*call), expected)


def check_small_values(codes: torch.dtype) -> None:
    """Values whose scales float16 hardly has, between some that it has."""
    case = AttentionCase((1, 3), (40, 30), kv_heads=1, into_out=False, codes=codes)
    q, cache, *rest = _drawn(CONTIGUOUS, case, torch.float16)
    small = QuantizedKV(cache.keys, cache.values, cache.key_scales, cache.value_scales * 2.0**-12)
    expected = reference.quantized_contiguous_attention(q, small, *rest)
    assert float(expected.abs().max()) < 2.0**-8
    assert_near(triton_of(CONTIGUOUS).function(q, small, *rest), expected, times=2)


def check_padding(codes: torch.dtype) -> None:
    """Tokens without a slot are not written."""
    case = WriteCase(3, 2, 16, codes=codes)
    k, v, cache, _ = _drawn("quantized_cache_write", case, torch.float32)
    slots = torch.tensor([-1, 7, -1])
    triton_of("quantized_cache_write").function(k, v, cache, slots)
    written = cache.key_scales.view(24, 2).isfinite()
    assert written.nonzero()[:, 0].tolist() == [7, 7]


# Of e4m3 `test_every_implementation` tries none in the interpreter.
E4M3_CASES = (
    *(
        (PAGED, name, dtype)
        for name in (
            "decode: ragged",
            "decode: heads of 80, group 1",
            "decode: heads of 128, group 8",
            "prefill: ragged",
            "chunk: of a long past",
            "mixed: contexts and decodes",
            "window: decode",
            "window: a chunk with a past",
        )
        for dtype in (torch.float16, torch.bfloat16)
    ),
    *((PAGED, name, torch.float32) for name in ("decode: ragged", "chunk: with a past")),
    *((PAGED, name, torch.bfloat16) for name in ("decode: long", "window: prefill")),
    *(
        (CONTIGUOUS, name, torch.bfloat16)
        for name in ("decode: ragged", "prefill: ragged", "mixed: a decode before contexts")
    ),
)
CHECKS: Checks = {
    **{
        f"every code, {dtype}, {name}": partial(
            cases.test_every_code_is_read, triton_of(CONTIGUOUS), dtype, codes
        )
        for name, codes in CODES.items()
        for dtype in HALF_AND_WIDE
    },
    **{
        f"write {bad}, {name}": partial(
            cases.test_write_does_not_hide_what_is_not_finite,
            triton_of("quantized_cache_write"),
            bad,
            codes,
        )
        for name, codes in CODES.items()
        for bad in (math.nan, math.inf)
    },
    **{
        f"{check.__name__}, {name}": partial(check, codes)
        for name, codes in CODES.items()
        for check in (check_split, check_small_values, check_padding)
    },
    **{
        f"{op}, {name}, {dtype}": partial(check_case, op, name, dtype)
        for op, name, dtype in E4M3_CASES
    },
    **{
        f"e4m3 {'keys' if in_keys else 'values'}, {odd}, {dtype}": partial(
            check_every_e4m3_code, in_keys, odd, dtype
        )
        for in_keys in (True, False)
        for odd in range(2)
        for dtype in (torch.float16, torch.bfloat16)
    },
    **{
        f"NaN, {name}, {dtype}": partial(check_nan_is_not_hidden, codes, dtype)
        for name, codes in CODES.items()
        for dtype in (torch.float16, torch.bfloat16)
    },
}


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str]:
    return failures("test_triton_quantized_kv")


@pytest.mark.parametrize("name", CHECKS)
def test_interpreted(name: str, interpreted: dict[str, str]) -> None:
    assert interpreted[name] == ""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CHECKS)
def test_on_gpu(name: str) -> None:
    with torch.device("cuda"):
        CHECKS[name]()


@pytest.mark.parametrize(("head_dim", "taken"), [(15, False), (16, True)])
def test_e4m3_is_taken_in_pairs(head_dim: int, taken: bool) -> None:
    q = torch.zeros(1, 2, head_dim, dtype=torch.bfloat16)
    for codes in CODES.values():
        heads, scales = torch.zeros(4, 1, head_dim, dtype=codes), torch.ones(4, 1)
        cache = QuantizedKV(heads, heads, scales, scales)
        batch = ContiguousBatch((1,), (3,), (0,))
        assert quantized_kv.takes(q, cache, batch, 0.1) == (taken or codes == torch.int8)


@each_target
@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("lengths", [(1, 600), (40, 40)], ids=["decode", "contexts"])
def test_attention_compiles(
    lengths: tuple[int, int], codes: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """e4m3 by bits, two numbers at a time, and by none of a device's conversions."""
    monkeypatch.setattr(attention, "on_amd", lambda: target.startswith("gfx"))
    stored = torch.zeros(64, 16, 8, 128, dtype=CODES[codes])
    scales = torch.ones(64, 16, 8, dtype=torch.bfloat16)
    batch = PagedBatch(lengths[:1], lengths[1:], torch.zeros(1, 64, dtype=torch.int64))
    q = torch.empty(lengths[0], 32, 128, dtype=torch.bfloat16)
    kernels = "attention_kernel.attention_kernel", "attention_kernel.reduce_segments_kernel"
    with launches(*kernels) as seen:
        quantized_kv.quantized_paged_attention(
            q, QuantizedKV(stored, stored, scales, scales), batch, 0.1
        )
    code = seen[0].compile(target)
    if codes == "fp8":
        assert ("fma.rn.bf16x2" in code) == target.startswith("sm_")
        assert "e4m3x2" not in code


@each_target
@pytest.mark.parametrize("codes", CODES)
def test_write_compiles(codes: str, target: str) -> None:
    stored = torch.zeros(64, 8, 128, dtype=CODES[codes])
    scales = torch.ones(64, 8, dtype=torch.bfloat16)
    k = torch.empty(5, 8, 128, dtype=torch.bfloat16)
    with launches("cache_kernel.quantized_cache_write_kernel") as seen:
        quantized_kv.quantized_cache_write(
            k, k, QuantizedKV(stored, stored, scales, scales), torch.arange(5)
        )
    (launch,) = seen
    assert launch.compile(target)


if __name__ == "__main__":
    report(CHECKS)
