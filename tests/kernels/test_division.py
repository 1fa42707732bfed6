"""Scales are divided alike on a GPU, whose division by a number is a product with its inverse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from llmbench.engines.quantization.grid import GridFormat, fit_grid
from llmbench.kernels.division import divided
from llmbench.kernels.fp4 import quantize_nvfp4
from llmbench.kernels.fp8 import e4m3_scales, quantize_activations, quantize_fp8
from llmbench.kernels.reference.quantized_kv import quantize as quantize_kv
from llmbench.kernels.w8a8 import quantize_rows
from torch import Tensor

E4M3 = torch.float8_e4m3fn
QUANTISERS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "rows": quantize_rows,
    "activations": lambda x: quantize_activations(x, quantize_fp8(x)),
    "e4m3 weights": lambda x: (quantize_fp8(x).codes, quantize_fp8(x).scales),
    "a static e4m3 scale": lambda x: (torch.stack([e4m3_scales(one.max()) for one in x]),),
    # One factor a tensor, so as many tensors as rows.
    "e2m1 weights": lambda x: tuple(
        part
        for one in map(quantize_nvfp4, x.split(1))
        for part in (one.nibbles, one.scales, one.row_scales)
    ),
    "int8 keys": lambda x: quantize_kv(x[:, None], torch.int8),
    "e4m3 keys": lambda x: quantize_kv(x[:, None], E4M3),
}


@pytest.fixture
def by_inverses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch's kernel for a GPU divides by a number."""
    divide = Tensor.__truediv__

    def as_a_gpu(values: Tensor, by: Tensor | float) -> Tensor:
        if isinstance(by, Tensor):
            return divide(values, by)
        return values * torch.tensor(1 / by, dtype=values.dtype)

    monkeypatch.setattr(Tensor, "__truediv__", as_a_gpu)


@pytest.mark.usefixtures("by_inverses")
def test_an_inverse_is_off_where_a_division_is_not() -> None:
    values = torch.rand(10_000)
    exact = (values.double() / torch.full((), 448.0).double()).float()
    assert not torch.equal(values / 448.0, exact)
    assert torch.equal(divided(values, 448.0), exact)


@pytest.mark.parametrize("quantise", QUANTISERS.values(), ids=QUANTISERS.keys())
def test_codes_and_scales_are_the_same(
    quantise: Callable[[Tensor], tuple[Tensor, ...]], request: pytest.FixtureRequest
) -> None:
    x = torch.randn(500, 64).bfloat16()
    before = quantise(x)
    request.getfixturevalue("by_inverses")
    for one, other in zip(before, quantise(x), strict=True):
        assert torch.equal(one.float(), other.float())


@pytest.mark.usefixtures("by_inverses")
@pytest.mark.parametrize(("bits", "largest"), [(4, 1.071624755859375), (8, 1.0043621063232422)])
def test_scales_of_groups_are_the_same(bits: int, largest: float) -> None:
    """These lie next to the middle of two float16 numbers, to either of which they are rounded."""
    scales = fit_grid(torch.tensor([0.0, largest]), GridFormat(bits)).scales
    assert scales.item() == np.float16(np.float32(largest) / np.float32(2**bits - 1))
