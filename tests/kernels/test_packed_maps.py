"""What holds of a map over packed weights, whatever their kind and the instructions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from llmbench.kernels.fp4 import Fp4Weight, quantize_mxfp4, quantize_nvfp4
from llmbench.kernels.fp8 import Fp8Weight, quantize_fp8
from llmbench.kernels.grouped_int8 import GroupedInt8
from llmbench.kernels.int4 import PackedInt4, pack_int4
from llmbench.kernels.native.packed import Kind, PackedMap
from llmbench.kernels.registry import Implementation, KernelError, implementations
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows
from torch import Tensor

CPU = torch.device("cpu")
GROUP_SIZE = 32


def dense(n: int, k: int) -> Tensor:
    return torch.randn(n, k).bfloat16()


def int8(n: int, k: int) -> W8A8Weight:
    return W8A8Weight(*quantize_rows(torch.randn(n, k)))


def int4(n: int, k: int) -> PackedInt4:
    groups = (n, k // GROUP_SIZE)
    codes, zeros = torch.randint(0, 16, (n, k)), torch.randint(0, 16, groups)
    return pack_int4(codes, (0.01 + torch.rand(groups)).half(), zeros, GROUP_SIZE)


def int4_by_int8(n: int, k: int) -> PackedInt4:
    return int4(n, k)


def grouped_int8(n: int, k: int) -> GroupedInt8:
    groups = (n, k // GROUP_SIZE)
    codes, zeros = (torch.randint(0, 256, size).to(torch.uint8) for size in ((n, k), groups))
    return GroupedInt8(codes, 0.01 + torch.rand(groups), zeros, GROUP_SIZE)


def fp8(n: int, k: int) -> Fp8Weight:
    return quantize_fp8(torch.randn(n, k))


def fp8_block(n: int, k: int) -> Fp8Weight:
    """The last of 576 inputs' blocks is half as long as the others."""
    return quantize_fp8(torch.randn(n, k), 128, 128)


def fp8_static(n: int, k: int) -> Fp8Weight:
    return replace(fp8(n, k), input_scale=torch.tensor(0.01))


def nvfp4(n: int, k: int) -> Fp4Weight:
    return quantize_nvfp4(torch.randn(n, k))


def mxfp4(n: int, k: int) -> Fp4Weight:
    return quantize_mxfp4(torch.randn(n, k))


@dataclass(frozen=True)
class Form:
    """Weights [n, k] of an operation, which `weights.h` calls `kind`; group: of 64 inputs, those
    that share a scale as it is told; 0: no such groups."""

    op: str
    make: Callable[[int, int], object]
    kind: Kind
    group: int = 0


@dataclass(frozen=True)
class Packed:
    """An implementation, and what it packs."""

    form: Form
    kernel: Implementation

    def make(self, n: int, k: int, bias: Tensor | None = None) -> PackedMap:
        return self.kernel.function(self.form.make(n, k), bias, torch.bfloat16)


FORMS = (
    Form("linear", dense, Kind.DENSE),
    Form("w8a8_linear", int8, Kind.W8A8),
    Form("w4a16_linear", int4, Kind.W4A16, GROUP_SIZE),
    Form("w4a8_linear", int4_by_int8, Kind.W4A8, GROUP_SIZE),
    Form("w8a16_linear", grouped_int8, Kind.W8A16, GROUP_SIZE),
    Form("fp8_linear", fp8, Kind.FP8, 64),
    Form("fp8_linear", fp8_block, Kind.FP8, 64),
    Form("fp8_linear", fp8_static, Kind.FP8, 64),
    Form("fp4_linear", nvfp4, Kind.FP4, 16),
    Form("fp4_linear", mxfp4, Kind.FP4, 32),
)
MAPS = [
    pytest.param((form, one), id=f"{form.make.__name__}-{one.name}")
    for form in FORMS
    for one in implementations(form.op)
    if one.name.startswith("native") and (form.op, one.name) != ("linear", "native-amx")
]


@pytest.fixture(params=MAPS)
def packed(request: pytest.FixtureRequest) -> Packed:
    form, kernel = request.param
    if not kernel.when(CPU, torch.bfloat16):
        pytest.skip(f"{kernel.name} does not run here")
    return Packed(form, kernel)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_row_does_not_depend_on_the_others(packed: Packed) -> None:
    """Bit for bit, from one row to more than a block of them."""
    linear, x = packed.make(70, 576), torch.randn(500, 576).bfloat16()
    all_rows = linear(x)
    assert bool(all_rows.isfinite().all())
    for first, last in ((0, 1), (499, 500), (7, 9), (8, 11), (2, 7), (5, 22), (100, 399)):
        assert torch.equal(linear(x[first:last]), all_rows[first:last])


def test_the_threads_change_nothing(packed: Packed, threads: Callable[[int], None]) -> None:
    linear, x = packed.make(1000, 64), torch.randn(9, 64).bfloat16()
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(linear(x))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_writes_all_of_y_and_nothing_else(packed: Packed, threads: Callable[[int], None]) -> None:
    for m, n, count in product((1, 4, 33), (1, 49, 64, 336), (1, 2)):
        threads(count)
        linear, x = packed.make(n, 64), torch.randn(m, 64).bfloat16()
        y = torch.full((m * n + 128,), math.nan, dtype=torch.bfloat16)
        library = packed.kernel.function.native.library  # type: ignore[attr-defined]
        library.linear(
            *(ctypes.addressof(linear.native_weights), x.data_ptr(), y[64:].data_ptr()),
            *(m, count, library.parallel),
        )
        assert torch.equal(y[64:-64].view(m, n), linear(x))
        assert bool(y[64:-64].isfinite().all())
        assert bool(y[:64].isnan().all())
        assert bool(y[-64:].isnan().all())


def test_a_nan_stays_in_its_row(packed: Packed) -> None:
    x = torch.randn(17, 64).bfloat16()
    x[3, 5], x[9, 63] = math.nan, math.inf
    y = packed.make(40, 64)(x)
    assert not bool(y[[3, 9]].isfinite().any())
    others = [row for row in range(17) if row not in (3, 9)]
    assert bool(y[others].isfinite().all())


def test_nothing_is_read_past_the_end_of_x(packed: Packed) -> None:
    linear, x = packed.make(40, 64), torch.randn(5, 64).bfloat16()
    room = torch.full((5 * 64 + 128,), math.nan, dtype=torch.bfloat16)
    beside = room[64:-64].view(5, 64).copy_(x)
    assert torch.equal(linear(beside), linear(x))


def test_shapes_and_strides_of_x(packed: Packed) -> None:
    x = torch.randn(6, 64).bfloat16()
    linear = packed.make(80, 64, torch.randn(80).bfloat16())
    y = linear(x)
    sliced = torch.cat((x, x), dim=1)[:, 64:]
    assert not sliced.is_contiguous()
    for other in (sliced, x.T.contiguous().T, x.repeat_interleave(2, dim=0)[::2]):
        assert torch.equal(linear(other), y)
    assert torch.equal(linear(x.view(2, 3, 64)).view(6, 80), y)
    assert linear(x[0]).shape == (80,)
    assert linear(x[:0]).shape == (0, 80)


def test_what_would_be_misread_is_refused(packed: Packed) -> None:
    linear, x = packed.make(16, 64), torch.randn(2, 64).bfloat16()
    with pytest.raises(KernelError, match="does not end in the 64 inputs"):
        linear(x[:, :32])
    with pytest.raises(KernelError, match=r"float32 on cpu is not bfloat16"):
        linear(x.float())
    for bias in (torch.zeros(8).bfloat16(), torch.zeros(16)):
        with pytest.raises(KernelError, match="is not"):
            packed.make(16, 64, bias)


def test_what_a_larger_kernel_is_told(packed: Packed) -> None:
    bias = torch.randn(33).bfloat16()
    told = packed.make(33, 64, bias).native_weights
    assert (told.n, told.k, told.bias) == (33, 64, bias.data_ptr())
    assert (told.kind, told.group) == (packed.form.kind, packed.form.group)
