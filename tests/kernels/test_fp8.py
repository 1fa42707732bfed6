"""Every implementation of `fp8_linear` against numbers made by hand and in float64."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from llmbench.kernels import bfloat16
from llmbench.kernels.fp8 import (
    E4M3,
    Fp8Weight,
    dequantize_fp8,
    quantize_activations,
    quantize_fp8,
    stack_fp8,
)
from llmbench.kernels.pytorch import scaled_mm
from llmbench.kernels.pytorch.fp8 import WidenedFp8Linear
from llmbench.kernels.reference.fp8 import ReferenceFp8Linear
from llmbench.kernels.registry import Implementation, KernelError, implementations, select
from torch import Tensor

from .closeness import assert_near
from .codes_cases import CASES, CHECKS, random_fp8, random_x
from .triton_checks import failures
from .triton_launches import TARGETS, as_on, launches

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ON_CPU = [
    pytest.param(one, dtype, id=f"{one.name}-{dtype}")
    for one in implementations("fp8_linear")
    for dtype in DTYPES
    if one.when(CPU, dtype)
]
FP8_CASES = [name for name, case in CASES.items() if case.blocks is not None]
KERNELS = (
    "token_codes_kernel.token_codes_kernel",
    "codes_kernel.codes_kernel",
    "splits_kernel.add_splits_kernel",
)


def e4m3(code: int) -> float:
    """By the format's definition (Micikevicius et al., 2022, table 1): bias 7, no infinity."""
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = (code >> 3) & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return math.nan
    if exponent == 0:
        return sign * mantissa / 8 * 2.0**-6
    return sign * (1 + mantissa / 8) * 2.0 ** (exponent - 7)


def test_every_code_is_what_the_format_says() -> None:
    numbers = torch.arange(256, dtype=torch.uint8).view(E4M3).float().tolist()
    expected = [e4m3(code) for code in range(256)]
    assert str(numbers) == str(expected)  # NaN is written alike, negative zero too
    assert max(number for number in numbers if number == number) == 448


def test_a_product_by_hand() -> None:
    """Rows of scale 1/2 and 2; x has the scale 896 / 448 = 2, so its codes are 448 and 16."""
    codes = torch.tensor([[2.0, 4.0], [1.0, -8.0]]).to(E4M3)
    weight = Fp8Weight(codes, torch.tensor([[0.5], [2.0]]), 1, 2)
    x = torch.tensor([[896.0, 32.5]])  # 16.25 rounds to 16, whose neighbour is 18
    found, scales = quantize_activations(x, weight)
    assert found.float().tolist() == [[448.0, 16.0]]
    assert scales.tolist() == [[2.0]]
    linear = ReferenceFp8Linear(weight, torch.tensor([1.0, 0.0]), torch.float32)
    # (448·2 + 16·4) · 2 · 0.5 + 1 and (448 - 16·8) · 2 · 2.
    assert linear(x).tolist() == [[961.0, 1280.0]]
    assert linear.weight_bytes == 4 + 8 + 8


def test_a_static_scale_saturates() -> None:
    weight = Fp8Weight(torch.ones(1, 2).to(E4M3), torch.ones(1, 1), 1, 2, torch.tensor(0.5))
    found, scales = quantize_activations(torch.tensor([[1000.0, -1.0]]), weight)
    assert found.float().tolist() == [[448.0, -2.0]]
    assert scales.tolist() == [[0.5]]


def test_blocks_by_hand() -> None:
    """Blocks of 2 x 2 in 3 x 3: each has its own largest, which becomes ±448."""
    weight = torch.tensor([[1.0, 2.0, 8.0], [4.0, 0.5, 1.0], [-16.0, 1.0, 0.0]])
    blocks = quantize_fp8(weight, 2, 2)
    assert (blocks.scales * 448).tolist() == [[4.0, 8.0], [16.0, blocks_zero()]]
    assert blocks.codes.float()[1].tolist() == [448.0, 56.0, 56.0]
    assert torch.equal(dequantize_fp8(blocks), weight)  # powers of two times 448: exact


def blocks_zero() -> float:
    """A block of zeros has the least scale that divides."""
    return float(torch.tensor(torch.finfo(torch.float32).tiny) * 448)


@pytest.mark.parametrize("columns", [None, 128])
def test_rounding_loses_at_most_half_a_step(columns: int | None) -> None:
    """A step is an eighth of a power of two, so at most 1/16 of a number above the subnormals."""
    weight = torch.randn(50, 300)
    quantized = quantize_fp8(weight, 1, columns)
    error = (dequantize_fp8(quantized) - weight).abs()
    largest = weight.abs().amax(1, keepdim=True)
    assert bool((error <= weight.abs() / 16 * 1.001 + largest / 448 * 2.0**-10 * 1.001).all())


@pytest.mark.parametrize(("implementation", "dtype"), ON_CPU)
def test_every_code_is_multiplied(implementation: Implementation, dtype: torch.dtype) -> None:
    """By 1, which all of an x that holds its static scale of 1 are; a sign of zero may be lost."""
    codes = torch.tensor([code for code in range(256) if code & 0x7F != 0x7F]).byte()
    weight = torch.zeros(len(codes), 8, dtype=torch.uint8)
    weight[torch.arange(len(codes)), torch.arange(len(codes)) % 8] = codes
    one = replace(weight_of(weight.view(E4M3)), input_scale=torch.ones(1))
    found = implementation.function(one, None, dtype)(torch.ones(5, 8, dtype=dtype))
    numbers = torch.tensor([e4m3(int(code)) for code in codes]).to(dtype)
    assert torch.equal(found, numbers.expand(5, -1))


@pytest.mark.parametrize(("implementation", "dtype"), ON_CPU)
def test_every_activation_is_rounded_as_torch_rounds(
    implementation: Implementation, dtype: torch.dtype
) -> None:
    """Every bfloat16 under a static scale of 1: ties, those without an exponent, and beyond 448."""
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = every[every.float().abs() <= 2**15].to(dtype)[:, None]
    weight = replace(weight_of(torch.ones(1, 1).to(E4M3)), input_scale=torch.ones(1))
    found = implementation.function(weight, None, dtype)(x)
    expected = x.float().clamp(-448, 448).to(E4M3).to(dtype)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("case", FP8_CASES)
@pytest.mark.parametrize(("implementation", "dtype"), ON_CPU)
def test_on_cpu(implementation: Implementation, dtype: torch.dtype, case: str) -> None:
    """Against float64 over what was rounded; x̂ and Ŵ are made anew here, from torch's types."""
    shape = replace(CASES[case], dtype=str(dtype).removeprefix("torch."))
    x, weight = random_x(shape), random_fp8(shape)
    bias = torch.randn(shape.n).to(dtype)
    codes, scales = quantize_activations(x, weight)
    groups = torch.arange(shape.k) // weight.block_columns
    rounded = codes.double() * scales.double()[:, groups]
    rows = torch.arange(shape.n) // weight.block_rows
    wide = weight.codes.double() * weight.scales.double()[rows][:, groups]
    for added in (None, bias):
        expected = rounded @ wide.T + (0 if added is None else added.double())
        linear = implementation.function(weight, added, dtype)
        assert_near(linear(x.view(1, *x.shape)), expected.to(dtype)[None])
        assert linear.weight_bytes >= weight.codes.nbytes


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("implementation", "dtype"), ON_CPU)
def test_a_nan_stays_in_its_row(
    implementation: Implementation, dtype: torch.dtype, static: bool
) -> None:
    weight = quantize_fp8(torch.randn(32, 64))
    if static:
        weight = replace(weight, input_scale=torch.tensor(0.1))
    x = torch.randn(4, 64, dtype=dtype)
    x[1, 5], x[3, 0] = math.nan, math.inf
    y = implementation.function(weight, None, dtype)(x)
    assert bool(y[[1, 3]].isnan().all())
    assert not bool(y[[0, 2]].isnan().any())


@pytest.mark.parametrize("emulates", [True, False])
def test_bfloat16_that_a_cpu_would_emulate_is_widened(
    emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated, a prompt took many times as long as in float32."""
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: not emulates)
    x, weight = torch.randn(3, 64).bfloat16(), quantize_fp8(torch.randn(16, 64))
    linear = WidenedFp8Linear(weight, None, torch.bfloat16)
    assert linear._wide_dtype == (torch.float32 if emulates else torch.bfloat16)
    codes, scales = quantize_activations(x, weight)
    expected = (codes.double() * scales) @ dequantize_fp8(weight).double().T
    assert_near(linear(x), expected.bfloat16())


def test_stacking_keeps_every_row() -> None:
    values = [torch.randn(n, 256) for n in (192, 64, 100)]
    for parts in (
        [quantize_fp8(value, 128, 128) for value in values],
        [quantize_fp8(value) for value in values],
        [quantize_fp8(value, len(value), 256) for value in values],
    ):
        expected = torch.cat([dequantize_fp8(part) for part in parts])
        assert torch.equal(dequantize_fp8(stack_fp8(parts)), expected)


def weight_of(codes: Tensor, **changes: Tensor) -> Fp8Weight:
    return Fp8Weight(codes, changes.get("scales", torch.ones(len(codes), 1)), 1, codes.shape[1])


def test_what_is_no_weight_is_refused() -> None:
    codes = torch.zeros(4, 8).to(E4M3)
    with pytest.raises(KernelError, match="one a block"):
        weight_of(codes, scales=torch.ones(3, 1))
    with pytest.raises(KernelError, match="not float8_e4m3fn"):
        weight_of(torch.zeros(4, 8))
    with pytest.raises(KernelError, match="NaN"):
        weight_of(torch.full((4, 8), torch.nan).to(E4M3))
    with pytest.raises(KernelError, match="not finite"):
        quantize_fp8(torch.full((4, 8), torch.inf))
    with pytest.raises(KernelError, match="in_features"):
        stack_fp8([quantize_fp8(torch.ones(2, 8)), quantize_fp8(torch.ones(2, 4))])
    static = replace(weight_of(codes), input_scale=torch.tensor(0.5))
    with pytest.raises(KernelError, match="input scales"):
        stack_fp8([weight_of(codes), static])
    with pytest.raises(KernelError, match="static input_scale"):
        replace(quantize_fp8(torch.ones(4, 8), 2, 2), input_scale=torch.tensor(0.5))


def test_what_cublas_takes() -> None:
    """Sizes that 16 divides, and no blocks of columns."""
    for weight, taken in (
        (quantize_fp8(torch.ones(32, 48)), True),
        (quantize_fp8(torch.ones(24, 32)), False),
        (quantize_fp8(torch.ones(32, 24)), False),
        (quantize_fp8(torch.ones(32, 32), 16, 16), False),
    ):
        assert scaled_mm.takes(weight, None, torch.bfloat16) is taken


@pytest.mark.parametrize(
    ("name", "fast"),
    [("torch-scaled-mm", False), ("triton-scaled-mm", False), ("triton-scaled-mm-fast", True)],
)
def test_sums_of_fewer_bits_are_computed_where_they_are_asked_for(
    name: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(scaled_mm, "multiplies_e4m3", lambda device: device.type == "cuda")
    gpu = torch.device("cuda")
    reachable = select("fp8_linear", gpu, torch.bfloat16).reachable
    assert "triton-scaled-mm-fast" not in [one.name for one in reachable]
    (chosen,) = select("fp8_linear", gpu, torch.bfloat16, {"fp8_linear": name}).candidates
    linear = chosen.function(quantize_fp8(torch.ones(32, 32)), None, torch.bfloat16)
    given: dict[str, object] = {}

    def product(codes: Tensor, weight: Tensor, **named: object) -> Tensor:
        given.update(named)
        return torch.zeros(len(codes), weight.shape[1])

    monkeypatch.setattr(torch.ops.aten, "_scaled_mm", product)
    with launches(*KERNELS):
        linear(torch.ones(3, 32, dtype=torch.bfloat16))
    assert given["use_fast_accum"] is fast


def test_float32_is_not_multiplied_in_fourteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with e4m3 products adds them up with less precision than float32 is held to."""
    pytest.importorskip("triton")
    monkeypatch.setattr(scaled_mm, "multiplies_e4m3", lambda device: device.type == "cuda")
    chosen = {
        dtype: [one.name for one in select("fp8_linear", torch.device("cuda"), dtype).reachable]
        for dtype in (torch.bfloat16, torch.float16, torch.float32)
    }
    assert chosen[torch.bfloat16][:2] == ["triton", "triton-scaled-mm"]
    assert chosen[torch.float16][0] == "triton"
    assert chosen[torch.float32][0] == "triton-widened"


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return failures("codes_cases")


@pytest.mark.parametrize("case", [*CASES, *CHECKS])
def test_triton(case: str, errors: dict[str, str]) -> None:
    """W8A8's cases, too: the kernels are the same."""
    assert errors[case] == ""


@pytest.mark.parametrize("target", TARGETS)
def test_it_compiles_without_e4m3_arithmetic(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmbench.kernels.triton import codes
    from llmbench.kernels.triton.fp8 import TritonWidenedFp8Linear

    as_on(target, monkeypatch, codes)

    with launches(*KERNELS) as seen:
        by_row = TritonWidenedFp8Linear(quantize_fp8(torch.randn(64, 576)), None, torch.float16)
        by_row(torch.randn(3, 576).half())
        blocks = quantize_fp8(torch.randn(64, 256), 128, 128)
        bias = torch.randn(64).bfloat16()
        TritonWidenedFp8Linear(blocks, bias, torch.bfloat16)(torch.randn(200, 256).bfloat16())
    assert len(seen) == 6
    for launch in seen:
        assert launch.compile(target)


@pytest.mark.parametrize(
    ("target", "rows", "instruction"),
    [
        *(("sm_90", rows, r"wgmma\S*\.e4m3\.e4m3") for rows in (1, 24, 64, 200)),
        ("sm_89", 1, r"mma\.sync\S*\.e4m3\.e4m3"),
        ("sm_100", 1, r"tcgen05\.mma\S*\.kind::f8f6f4"),
        ("sm_120", 1, r"mma\.sync\S*\.e4m3\.e4m3"),
    ],
)
def test_it_multiplies_e4m3(target: str, rows: int, instruction: str) -> None:
    """Not float16, which Triton makes of it where the first factor has too few rows for the device:
    Hopper's and some Blackwells' tensor cores take 64 at once."""
    from llmbench.kernels.triton.fp8 import TritonFp8Linear

    with launches(*KERNELS) as seen:
        linear = TritonFp8Linear(quantize_fp8(torch.randn(512, 512)), None, torch.bfloat16)
        linear(torch.randn(rows, 512).bfloat16())
    product = seen[1].compile(target)
    assert re.search(instruction, product)
    assert not re.search(r"mma\S*(\.f16\.f16|kind::f16)", product)
