"""Triton's eight-bit cache: in the interpreter here, on a GPU where there is one."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from llmbench.kernels.batch import PagedBatch
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


# Against the reference, `test_every_implementation` tries them.
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


@each_target
@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("lengths", [(1, 600), (40, 40)], ids=["decode", "contexts"])
def test_attention_compiles(
    lengths: tuple[int, int], codes: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """e4m3 as the device converts it, from Hopper on, or as bytes."""
    monkeypatch.setattr(attention, "on_amd", lambda: target.startswith("gfx"))
    monkeypatch.setattr(quantized_kv, "converts_e4m3", lambda _: target == "sm_90")
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
    if codes == "fp8" and target == "sm_90":
        assert "e4m3x2" in code


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
