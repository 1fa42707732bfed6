"""Every implementation of `fp4_linear` against the formats' published tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.kernels import bfloat16
from llmbench.kernels.fp4 import (
    Fp4Weight,
    ScaleFormat,
    dequantize_fp4,
    quantize_mxfp4,
    quantize_nvfp4,
    stack_fp4,
)
from llmbench.kernels.pytorch.fp4 import WidenedFp4Linear
from llmbench.kernels.reference.fp4 import ReferenceFp4Linear
from llmbench.kernels.registry import Implementation, KernelError, implementations

from .closeness import assert_near
from .fp4_cases import CASES, FORMS, Case, every_code, random_case
from .triton_checks import failures
from .triton_launches import TARGETS, launches

CPU = torch.device("cpu")


def on_cpu(*dtypes: torch.dtype) -> list[Any]:
    """Each implementation with those of the dtypes in which it runs."""
    return [
        pytest.param(one, dtype, id=f"{one.name}-{dtype}")
        for one in implementations("fp4_linear")
        for dtype in dtypes
        if one.when(CPU, dtype)
    ]


# OCP MX Specification 1.0, table 5: sign, two bits of exponent (bias 1), one of mantissa.
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize("form", FORMS)
def test_every_code_under_every_scale(form: ScaleFormat) -> None:
    """Scales: e4m3 by torch's type, e8m0 = 2^(byte - 127) (the specification's table 7)."""
    weight = every_code(form)
    row = [*E2M1, *(-number for number in E2M1)] * 2
    numbers = torch.tensor([*row[:31], row[0]], dtype=torch.float64)
    scales = weight.scales[:, 0]
    if form == "e4m3":
        factors = scales.view(torch.float8_e4m3fn).double()
    else:
        factors = torch.tensor([2.0 ** (byte - 127) for byte in scales.tolist()]).double()
    assert torch.equal(dequantize_fp4(weight).double(), factors[:, None] * numbers)


def test_a_product_by_hand() -> None:
    """0x9A: low nibble 10 is -1, high 9 is -0.5. The first block's scale is 2, the tensor's 10."""
    nibbles = torch.zeros(1, 16, dtype=torch.uint8)
    nibbles[0, 0], nibbles[0, 8] = 0x9A, 0x07
    two, half = 0x40, 0x30  # e4m3: exponents 8 and 6, bias 7
    weight = Fp4Weight(nibbles, torch.tensor([[two, half]]).byte(), torch.tensor([10.0]), "e4m3")
    x = torch.zeros(1, 32)
    x[0, 0], x[0, 1], x[0, 16] = 1, 2, 3
    linear = ReferenceFp4Linear(weight, torch.tensor([5.0]), torch.float32)
    # (1·-1 + 2·-0.5) · 2 · 10 + 3·6 · 0.5 · 10 + 5.
    assert linear(x).tolist() == [[55.0]]
    assert linear.weight_bytes == 16 + 2 + 4 + 4


def test_rounding_goes_to_the_even_code() -> None:
    """Ties .25, .75, 1.25, 1.75, 2.5, 3.5, 5 go to codes 0, 2, 2, 4, 4, 6, 6."""
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    row = torch.tensor([*ties, *(-tie for tie in ties), 6.0, 0.74])
    row = torch.cat((row, torch.zeros(16)))
    expected = [0, 2, 2, 4, 4, 6, 6, 8, 10, 10, 12, 12, 14, 14, 7, 1]
    for weight in (quantize_mxfp4(row[None]), quantize_nvfp4(448 * row[None])):
        assert weight.codes()[0, :16].tolist() == expected
    assert quantize_mxfp4(row[None]).scales.tolist() == [[127]]
    assert quantize_nvfp4(448 * row[None]).row_scales.tolist() == [1.0]


def test_an_mx_scale_is_the_largests_power_of_two() -> None:
    """7 is below 8, so the scale is 4 / 4 = 1 and 7 becomes 6; 8 has the scale 2 and stays."""
    weight = torch.zeros(2, 32)
    weight[0, 3], weight[1, 3] = 7.0, -8.0
    quantized = quantize_mxfp4(weight)
    assert quantized.scales.tolist() == [[127], [128]]
    assert dequantize_fp4(quantized)[:, 3].tolist() == [6.0, -8.0]


def test_a_block_far_below_the_largest_is_no_zero() -> None:
    """2688 = 6 · 448 makes the tensor's factor 1. The other block would have the scale 2⁻¹⁰, which
    is half-way to e4m3's least, 2⁻⁹; its values are 3 and -1 times that."""
    weight = torch.zeros(1, 32)
    weight[0, 0], weight[0, 16], weight[0, 17] = 2688, 6 * 2**-10, -(2**-9)
    quantized = quantize_nvfp4(weight)
    assert torch.equal(dequantize_fp4(quantized), weight)


@pytest.mark.parametrize("quantize", [quantize_nvfp4, quantize_mxfp4])
def test_rounding_keeps_what_is_on_the_grid(quantize) -> None:
    weight = quantize(torch.randn(6, 96) * torch.rand(6, 1))
    again = quantize(dequantize_fp4(weight))
    # The scale of the whole is a quotient of floats, and another one by its last digit.
    assert torch.allclose(dequantize_fp4(again), dequantize_fp4(weight), rtol=1e-6, atol=0)
    assert dequantize_fp4(quantize(torch.zeros(2, 32))).abs().max() == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("implementation", "dtype"), on_cpu(torch.float32, torch.bfloat16))
def test_every_code_under_every_scale_is_multiplied(
    implementation: Implementation, dtype: torch.dtype, form: ScaleFormat
) -> None:
    """Each x picks one column, of weights that have few enough digits for either dtype; float16 has
    none of e8m0's extremes."""
    weight = every_code(form)
    expected = dequantize_fp4(weight).T.to(dtype)
    linear = implementation.function(weight, None, dtype)
    found = linear(torch.eye(weight.in_features, dtype=dtype))
    # Processors that multiply bfloat16 take the least, which have no exponent, for zeros.
    exact = expected.abs() >= torch.finfo(torch.bfloat16).tiny
    assert torch.equal(found[exact], expected[exact])
    assert bool((found[~exact] - expected[~exact]).abs().le(2 * expected[~exact].abs()).all())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("implementation", "dtype"), on_cpu(torch.float32, torch.float16, torch.bfloat16)
)
def test_on_cpu(implementation: Implementation, dtype: torch.dtype, case: str) -> None:
    shape = replace(CASES[case], dtype=str(dtype).removeprefix("torch."))
    x, weight, bias = random_case(shape)
    for added in (None, bias):
        expected = x.double() @ dequantize_fp4(weight).double().T
        expected = expected if added is None else expected + added.double()
        linear = implementation.function(weight, added, x.dtype)
        assert_near(linear(x[None]), expected.to(x.dtype)[None])
        assert linear.weight_bytes >= weight.nibbles.nbytes


@pytest.mark.parametrize("emulates", [True, False])
def test_bfloat16_that_a_cpu_would_emulate_is_widened(
    emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: not emulates)
    x, weight, bias = random_case(replace(CASES[next(iter(CASES))], dtype="bfloat16"))
    linear = WidenedFp4Linear(weight, bias, torch.bfloat16)
    assert linear._wide_dtype == (torch.float32 if emulates else torch.bfloat16)
    expected = x.double() @ dequantize_fp4(weight).double().T + bias.double()
    assert_near(linear(x), expected.bfloat16())


def test_stacking_keeps_every_row() -> None:
    parts = [quantize_nvfp4(torch.randn(n, 32)) for n in (3, 5)]
    expected = torch.cat([dequantize_fp4(part) for part in parts])
    assert torch.equal(dequantize_fp4(stack_fp4(parts)), expected)
    with pytest.raises(KernelError, match="shared"):
        stack_fp4([parts[0], quantize_mxfp4(torch.ones(2, 32))])


def test_what_is_no_weight_is_refused() -> None:
    nibbles, ones = torch.zeros(2, 16).byte(), torch.ones(2)
    with pytest.raises(KernelError, match="one a block"):
        Fp4Weight(nibbles, torch.zeros(2, 1).byte(), ones, "e4m3")
    with pytest.raises(KernelError, match="do not divide"):
        Fp4Weight(nibbles[:, :12], torch.zeros(2, 1).byte(), ones, "e4m3")
    with pytest.raises(KernelError, match="NaN or a negative"):
        Fp4Weight(nibbles, torch.full((2, 2), 0x7F).byte(), ones, "e4m3")
    with pytest.raises(KernelError, match="NaN"):
        Fp4Weight(nibbles, torch.full((2, 1), 0xFF).byte(), ones, "e8m0")


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return failures("fp4_cases")


@pytest.mark.parametrize("case", [*CASES, *(f"every code, {form}" for form in FORMS)])
def test_triton(case: str, errors: dict[str, str]) -> None:
    assert errors[case] == ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", TARGETS)
def test_triton_compiles(target: str, form: ScaleFormat) -> None:
    from llmbench.kernels.triton.fp4 import TritonFp4Linear

    dtype = "bfloat16" if form == "e4m3" else "float16"
    with launches("nibbles_kernel.nibbles_kernel", "nibbles_kernel.widen_kernel") as seen:
        x, weight, bias = random_case(Case(3, 64, 128, form, dtype))
        linear = TritonFp4Linear(weight, bias, x.dtype)
        linear(x)
        linear(x.repeat(40, 1))
    assert len(seen) == 2
    for launch in seen:
        assert launch.compile(target)
