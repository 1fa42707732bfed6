"""What every layout that is written shares: reading is the inverse of writing, for any shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.quantization.checkpoints.awq import AwqLayout
from llmbench.engines.quantization.checkpoints.compressed_tensors import layout_for
from llmbench.engines.quantization.checkpoints.fp4_packed import Nvfp4Layout
from llmbench.engines.quantization.checkpoints.fp8_scaled import Fp8Layout
from llmbench.engines.quantization.checkpoints.gptq import GptqLayout
from llmbench.engines.quantization.checkpoints.layout import Writable
from llmbench.engines.quantization.grid import GridFormat, rtn_pack
from llmbench.engines.quantization.quantized import PackedWeight, QuantizedMap
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.fp4 import quantize_mxfp4, quantize_nvfp4
from llmbench.kernels.fp8 import Fp8Weight, quantize_fp8
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows
from torch import Tensor

from .directories import in_order

Make = Callable[[Tensor], PackedWeight]


def static_fp8(weight: Tensor) -> Fp8Weight:
    made = quantize_fp8(weight, len(weight))
    given = torch.rand(()) + 0.5
    return Fp8Weight(made.codes, made.scales, made.block_rows, made.block_columns, given)


def integers(bits: int, group: int | None, symmetric: bool) -> Make:
    return lambda weight: rtn_pack(weight, GridFormat(bits, group, symmetric))


def written(scheme: Scheme) -> Writable:
    return layout_for(scheme)[1]


SCALED_BY_TENSOR = Nvfp4Layout(
    Scheme("nvfp4", 4), "weight", "weight_scale_2", divides=False, input_factor="input_scale"
)
# layout, what makes a weight of it, a multiple of in_features that it needs.
LAYOUTS: dict[str, tuple[Writable, Make, int]] = {
    "gptq": (GptqLayout(Scheme("gptq", 4, 32)), integers(4, 32, True), 8),
    "gptq, asymmetric": (
        GptqLayout(Scheme("gptq", 4, 32, symmetric=False), "gptq_v2"),
        integers(4, 32, False),
        8,
    ),
    "gptq, 8 bits": (GptqLayout(Scheme("gptq", 8, 48)), integers(8, 48, True), 8),
    "gptq, a row": (
        GptqLayout(Scheme("gptq", 8, None, symmetric=False), "gptq_v2"),
        integers(8, None, False),
        8,
    ),
    "awq": (AwqLayout(Scheme("awq", 4, 32, symmetric=False)), integers(4, 32, False), 32),
    "packed": (written(Scheme("w4a16", 4, 32)), integers(4, 32, True), 32),
    "packed, asymmetric": (
        written(Scheme("rtn", 4, 32, symmetric=False)),
        integers(4, 32, False),
        32,
    ),
    "packed, a row": (written(Scheme("w4a16", 4)), integers(4, None, True), 2),
    "packed, 8 bits, asymmetric": (
        written(Scheme("rtn", 8, 16, symmetric=False)),
        integers(8, 16, False),
        16,
    ),
    "packed, 8 bits, a row": (written(Scheme("int8", 8)), integers(8, None, True), 1),
    "int8": (written(Scheme("w8a8", 8)), lambda w: W8A8Weight(*quantize_rows(w)), 1),
    "fp8": (written(Scheme("fp8", 8)), quantize_fp8, 1),
    "fp8-static": (written(Scheme("fp8-static", 8)), static_fp8, 1),
    "fp8-block": (written(Scheme("fp8-block", 8)), lambda w: quantize_fp8(w, 128, 128), 1),
    "fp8 by tensor": (
        Fp8Layout(Scheme("fp8", 8), "tensor"),
        lambda w: quantize_fp8(w, len(w)),
        1,
    ),
    "fp8, blocks of 16 x 24": (
        Fp8Layout(Scheme("fp8-block", 8), "block", block=(16, 24), scale="weight_scale_inv"),
        lambda w: quantize_fp8(w, 16, 24),
        1,
    ),
    "nvfp4": (written(Scheme("nvfp4", 4)), quantize_nvfp4, 16),
    "nvfp4, multiplied": (SCALED_BY_TENSOR, quantize_nvfp4, 16),
    "mxfp4": (written(Scheme("mxfp4", 4)), quantize_mxfp4, 32),
}


def comparable(part: Tensor) -> Tensor:
    """torch.equal knows no float8."""
    return part.float() if part.is_floating_point() else part


@pytest.mark.parametrize("name", LAYOUTS)
@settings(deadline=None, max_examples=15)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    any_row=st.booleans(),
)
def test_what_is_written_is_read(
    name: str, rows: int, columns: int, seed: int, any_row: bool
) -> None:
    """Codes bit for bit; of NVFP4 the factor of the tensor is stored as its reciprocal."""
    layout, make, multiple = LAYOUTS[name]
    # Integer formats fill words along out_features.
    n = rows if any_row and not name.startswith(("gptq", "awq")) else 8 * rows
    k = columns * multiple
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator) * torch.rand(n, 1, generator=generator)
    map_ = QuantizedMap(make(weight))
    parts = layout.write(map_)
    expected = layout.parts(n, k)
    assert {one for one, part in expected.items() if not part.optional} <= parts.keys()
    for one, part in parts.items():
        assert tuple(part.shape) in expected[one].shapes, one
        assert part.is_contiguous()
    read = layout.read(parts, (n, k))
    assert type(read.weight) is type(map_.weight)
    exact = name != "nvfp4"
    torch.testing.assert_close(
        in_order(read), in_order(map_), rtol=0 if exact else 2e-7, atol=0, equal_nan=False
    )
    again = layout.write(read)
    for one, part in parts.items():
        if exact or one != "weight_global_scale":
            assert torch.equal(comparable(again[one]), comparable(part)), one


@settings(deadline=None, max_examples=25)
@given(
    groups=st.integers(1, 5),
    rest=st.integers(0, 3),
    bits=st.sampled_from((4, 8)),
    seed=st.integers(0, 2**32),
)
def test_an_order_of_inputs_survives(groups: int, rest: int, bits: int, seed: int) -> None:
    """GPTQ alone has a place for one. It says which group an input is in, and of a group's members
    no order."""
    generator = torch.Generator().manual_seed(seed)
    k = 32 * groups + 8 * rest
    order = torch.randperm(k, generator=generator)
    weight = torch.randn(16, k, generator=generator)
    map_ = QuantizedMap(rtn_pack(weight, GridFormat(bits, 32, symmetric=True)), order)
    layout = GptqLayout(Scheme("gptq", bits, 32, act_order=True))
    parts = layout.write(map_)
    assert torch.equal(parts["g_idx"][order], torch.arange(k, dtype=torch.int32) // 32)
    assert torch.equal(in_order(layout.read(parts, (16, k))), in_order(map_))


def test_a_map_of_another_form_is_not_written() -> None:
    from llmbench.kernels.registry import KernelError

    weight = torch.randn(16, 64)
    for name, (layout, make, _) in LAYOUTS.items():
        for other, (_, make_other, _) in LAYOUTS.items():
            map_ = QuantizedMap(make_other(weight))
            same = type(make(weight)) is type(map_.weight)
            if not same:
                with pytest.raises(KernelError, match="it is no weight"):
                    layout.write(map_)
            assert same or name != other
