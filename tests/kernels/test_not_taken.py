"""Calls that a kernel cannot compute: the registry gives them to the next that can, and counts that
one; where the kernel was asked for, they are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from llmbench.kernels.batch import ContiguousBatch, PagedBatch
from llmbench.kernels.dispatch import Selection, calls, calls_since
from llmbench.kernels.fp8 import quantize_fp8
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.quantized_kv import QuantizedKV
from llmbench.kernels.registry import KernelError, implementations, reference, select
from torch import Tensor

from .closeness import assert_near

CPU = torch.device("cpu")
ROWS = torch.randn(4, 32).bfloat16()
HEADS = torch.randn(3, 2, 24).bfloat16()  # of a width that is no multiple of 16
WIDE = torch.randn(3, 2, 32).bfloat16()
BATCH = ContiguousBatch((3,), (3,), (0,))
TABLES = PagedBatch((1, 2), (1, 2), torch.tensor([[0, 9], [1, 2]]).T.contiguous().T)
SCALES = torch.ones(3, 2).bfloat16()


def apart(x: Tensor) -> Tensor:
    """The same numbers, each with a gap behind it."""
    return torch.stack((x, torch.full_like(x, math.nan)), -1)[..., 0]


def quantized(x: Tensor) -> QuantizedKV:
    codes = torch.ones(x.shape, dtype=torch.int8)
    return QuantizedKV(codes, codes.clone(), apart(SCALES), SCALES.clone())


@dataclass(frozen=True)
class Call:
    """arguments: made anew for each call, for some are written to."""

    op: str
    arguments: Callable[[], tuple[Any, ...]]
    next: str = "torch"


CALLS = {
    "sample, float16": Call(
        "sample",
        lambda: (ROWS.half(), torch.ones(4), None, None, None, torch.full((4,), 0.5)),
        "torch-cpu",
    ),
    "sample, top-k of another dtype": Call(
        "sample",
        lambda: (ROWS, torch.ones(4), torch.full((4,), 40), None, None, torch.full((4,), 0.5)),
        "torch-cpu",
    ),
    "argmax, another dtype": Call("argmax", lambda: (ROWS.float(),)),
    "rms_norm, a weight with gaps": Call(
        "rms_norm", lambda: (ROWS, apart(torch.ones(32).bfloat16()), 1e-5)
    ),
    "add_rms_norm, a residual with gaps": Call(
        "add_rms_norm", lambda: (ROWS.clone(), apart(ROWS), torch.ones(32).bfloat16(), 1e-5)
    ),
    "silu_mul, another dtype": Call("silu_mul", lambda: (ROWS.float(),)),
    "rope, tables with gaps": Call(
        "rope", lambda: (WIDE, WIDE, apart(ROWS[:3, :16]), apart(ROWS[:3, :16]))
    ),
    "rope_cache_write, queries with gaps": Call(
        "rope_cache_write",
        lambda: (
            apart(torch.cat((WIDE, WIDE), 1)),
            *(None, None, 0.0, ROWS[:3, :16].contiguous(), ROWS[:3, :16].contiguous()),
            *(torch.zeros(5, 1, 32).bfloat16(), torch.zeros(5, 1, 32).bfloat16()),
            torch.arange(3),
        ),
    ),
    "contiguous_attention, heads of 24": Call(
        "contiguous_attention", lambda: (HEADS, HEADS, HEADS, BATCH, 0.2)
    ),
    "contiguous_attention, a result with gaps": Call(
        "contiguous_attention", lambda: (WIDE, WIDE, WIDE, BATCH, 0.2, None, apart(WIDE))
    ),
    "paged_attention, tables that lie across": Call(
        "paged_attention", lambda: (WIDE, WIDE[:, None], WIDE[:, None], TABLES, 0.2)
    ),
    "quantized_contiguous_attention, scales with gaps": Call(
        "quantized_contiguous_attention", lambda: (WIDE, quantized(WIDE), BATCH, 0.2)
    ),
    "quantized_cache_write, scales with gaps": Call(
        "quantized_cache_write", lambda: (WIDE, WIDE, quantized(WIDE), torch.arange(3))
    ),
}


def fastest_native(op: str) -> str:
    names = [one.name for one in implementations(op) if one.is_chosen_on(CPU, torch.bfloat16)]
    native = [name for name in names if name.startswith("native")]
    if not native:
        pytest.skip("no native kernels here")
    return native[0]


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_the_next_computes_it_and_is_counted(case: Call) -> None:
    chosen = select(case.op, CPU, torch.bfloat16)
    assert chosen.name == fastest_native(case.op)
    before = calls()
    found = chosen.function(*case.arguments())
    assert calls_since(before) == {case.op: {case.next: 1}}
    if isinstance(found, Tensor):
        expected = reference(case.op).function(*case.arguments())
        assert torch.equal(found, expected) or assert_near(found, expected) is None


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_who_asks_for_the_kernel_is_refused_in_a_line(case: Call) -> None:
    name = fastest_native(case.op)
    forced = select(case.op, CPU, torch.bfloat16, {case.op: name}).function
    with pytest.raises(KernelError) as refusal:
        forced(*case.arguments())
    line = str(refusal.value)
    assert line.startswith(f"{case.op}: {name!r}, which was asked for, does not take this call: ")
    assert "\n" not in line


def test_a_refusal_says_what_the_call_was() -> None:
    name = fastest_native("silu_mul")
    forced = select("silu_mul", CPU, torch.bfloat16, {"silu_mul": name}).function
    with pytest.raises(KernelError, match=r"this call: float32 \[4, 32\] on cpu$"):
        forced(ROWS.float())
    with pytest.raises(KernelError, match=r"float32 \[4, 32\] with strides \[64, 2\] on cpu$"):
        forced(apart(ROWS.float()))


def test_weights_that_the_panels_cannot_hold() -> None:
    """Scales beyond float16 are PyTorch's, or refused where native is asked for."""
    codes = torch.randint(0, 16, (16, 64))
    packed = pack_int4(codes, torch.full((16, 2), 1e5), torch.zeros(16, 2).long(), 32)
    name = fastest_native("w4a16_linear")
    before = calls()
    select("w4a16_linear", CPU, torch.bfloat16).function(packed, None, torch.bfloat16)(
        torch.ones(2, 64).bfloat16()
    )
    assert calls_since(before) == {"w4a16_linear": {"torch-cpu": 1}}
    forced = select("w4a16_linear", CPU, torch.bfloat16, {"w4a16_linear": name}).function
    with pytest.raises(KernelError, match="does not take these weights: PackedInt4; None"):
        forced(packed, None, torch.bfloat16)


@pytest.mark.parametrize("op", ["paged_attention", "contiguous_attention"])
@pytest.mark.parametrize(("head_dim", "scale"), [(320, 0.1), (64, 0.0), (64, -1.0), (64, math.nan)])
def test_attention_that_triton_cannot_compute(op: str, head_dim: int, scale: float) -> None:
    """Heads that fit in no shared memory, and scales that would turn the order of scores."""
    takes = next(one.takes for one in implementations(op) if one.name == "triton")
    assert takes is not None
    q = torch.empty(2, 3, head_dim)
    assert not takes(q, q, q, BATCH, scale)
    assert takes(q[..., :64], q[..., :64], q[..., :64], BATCH, 0.1)
    quantized_takes = next(
        one.takes for one in implementations(f"quantized_{op}") if one.name == "triton"
    )
    assert quantized_takes is not None
    assert not quantized_takes(q, quantized(WIDE), BATCH, scale)


@pytest.mark.parametrize(
    ("size", "columns", "rows", "expected"),
    [
        ((32, 128), None, 128, "triton"),
        ((32, 128), None, 129, "triton-scaled-mm"),
        ((24, 128), None, 129, "triton"),  # 16 does not divide 24
        ((32, 256), 128, 129, "triton"),  # a scale a block
        ((32, 96), 32, 1, "torch-widened"),
    ],
)
def test_which_product_of_e4m3_a_device_that_has_it_uses(
    size: tuple[int, int],
    columns: int | None,
    rows: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chosen as on such a device; what is not there is not called."""
    from llmbench.kernels.pytorch import scaled_mm

    monkeypatch.setattr(scaled_mm, "multiplies_e4m3", lambda _: True)
    weight = quantize_fp8(torch.randn(size), 1, columns)
    x = torch.randn(rows, size[1]).bfloat16()
    for one in select("fp8_linear", torch.device("cuda"), torch.bfloat16).reachable:
        arguments = (weight, None, torch.bfloat16)
        if one.takes is not None and not one.takes(*arguments):
            continue
        if one.prefers is None or one.prefers(*arguments, x):
            assert one.name == expected
            return
    pytest.fail("nobody took it")


def test_only_one_of_the_native_kernels_is_asked_about_a_call() -> None:
    """What one cannot take, those for other instructions cannot either."""
    name = fastest_native("silu_mul")
    reachable = select("silu_mul", CPU, torch.bfloat16).reachable
    assert [one.name for one in reachable] == [name, "torch"]


def test_on_amx_many_rows_are_pytorchs_and_nothing_is_packed() -> None:
    """Row-major weights serve both; kernels without tiles would keep a copy of them."""
    few, many, *_ = Selection("linear", implementations("linear"), prepares=True).reachable
    assert (few.name, many.name) == ("native-amx", "torch-amx")
    assert many.takes is None
    assert many.prefers is None
    weight = torch.empty(8, 32, dtype=torch.bfloat16)
    assert few.prefers is not None
    for rows, preferred in ((0, True), (64, True), (65, False)):
        x = torch.empty(rows, 32, dtype=torch.bfloat16)
        assert few.prefers(weight, None, torch.bfloat16, x) is preferred
