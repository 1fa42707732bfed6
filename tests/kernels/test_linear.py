"""What neither `test_every_implementation` nor `test_packed_maps` tries of `linear`: every number
of rows, blocks of them, tiles, and what a weight may be."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from llmbench.kernels.native.linear import NativeLinear
from llmbench.kernels.native.row_major_linear import NativeRowMajorLinear
from llmbench.kernels.registry import Implementation, KernelError, implementations, select
from torch import Tensor

CPU = torch.device("cpu")
ALL = implementations("linear")
PACKED = [one for one in ALL if isinstance(one.function, NativeLinear)]
ROW_MAJOR = [one for one in ALL if isinstance(one.function, NativeRowMajorLinear)]
NATIVE = ROW_MAJOR + PACKED
HALF_A_STEP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def runnable(implementation: Implementation) -> Implementation:
    if not implementation.when(CPU, torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    return implementation


def computed(
    implementation: Implementation, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    return implementation.function(weight, bias, weight.dtype)(x)


def random_case(
    m: int, n: int, k: int, dtype: torch.dtype = torch.bfloat16
) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias, each beside NaN: what is read past an end shows."""
    return (
        _beside_nan(torch.randn(m, k).to(dtype)),
        _beside_nan(torch.randn(n, k).to(dtype)),
        _beside_nan(torch.randn(n).to(dtype)),
    )


def _beside_nan(tensor: Tensor) -> Tensor:
    size, margin = tensor.numel(), 64
    room = torch.full((size + 2 * margin,), math.nan, dtype=tensor.dtype)
    return room[margin : margin + size].view(tensor.shape).copy_(tensor)


def assert_within_rounding(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """One rounding to y's dtype, and K of float32's on sums of |x·w| (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, eq. 3.5, for any order of summation)."""
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    sizes = F.linear(x.double().abs(), weight.double().abs())
    if bias is not None:
        sizes += bias.double().abs()
    unit = 2.0**-24
    # bfloat16's products are exact in float32; AMX and AVX-512 flush its subnormals, 1e-38.
    bound = (x.shape[-1] + 2) * unit * sizes + 1e-37
    bound += HALF_A_STEP[y.dtype] * (exact.abs() + bound)
    assert y.shape == exact.shape
    assert bool(((y.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_every_number_of_rows(implementation: Implementation, threads: int) -> None:
    runnable(implementation)
    assert torch.get_num_threads() == threads
    x, weight, bias = random_case(66, 144, 96)
    linear = implementation.function(weight, bias, weight.dtype)
    for m in range(1, 67):
        assert_within_rounding(linear(x[:m]), x[:m], weight, bias)


@pytest.mark.parametrize("k", [576, 4097])
@pytest.mark.parametrize("implementation", PACKED, ids=lambda one: one.name)
def test_many_rows_in_blocks(implementation: Implementation, k: int) -> None:
    """More than one block of rows of x has passed over the panels."""
    runnable(implementation)
    x, weight, bias = random_case(2**18 // k + 17, 33, k)
    assert_within_rounding(computed(implementation, x, weight, bias), x, weight, bias)


@pytest.mark.parametrize("implementation", ROW_MAJOR, ids=lambda one: one.name)
def test_a_row_of_few_does_not_depend_on_the_others(implementation: Implementation) -> None:
    """Within the kernels of a width: AMX has one for up to two rows and one for more."""
    runnable(implementation)
    x, weight, bias = random_case(16, 96, 576)
    linear = implementation.function(weight, bias, weight.dtype)
    all_rows = linear(x)
    for rows in (slice(0, 3), slice(2, 7), slice(5, 16)):
        assert torch.equal(linear(x[rows]), all_rows[rows])
    assert torch.equal(linear(x[:2])[1:], linear(x[1:2]))


@pytest.mark.parametrize("implementation", ROW_MAJOR, ids=lambda one: one.name)
def test_the_threads_change_nothing(implementation: Implementation) -> None:
    runnable(implementation)
    x, weight, bias = random_case(8, 1000, 576)
    linear = implementation.function(weight, bias, weight.dtype)
    before, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(linear(x))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_pytorch_may_run_between_the_calls(implementation: Implementation) -> None:
    """Both use the processor's tiles where it has them, configured each in its own way."""
    runnable(implementation)
    few, weight, bias = random_case(5, 96, 128)
    many = random_case(130, 96, 128)[0]
    linear = implementation.function(weight, bias, weight.dtype)
    for _ in range(4):
        assert_within_rounding(linear(few), few, weight, bias)
        assert_within_rounding(F.linear(many, weight, bias), many, weight, bias)


@pytest.mark.parametrize("implementation", ROW_MAJOR, ids=lambda one: one.name)
def test_shapes_and_strides_of_x(implementation: Implementation) -> None:
    runnable(implementation)
    x, weight, bias = random_case(6, 80, 64)
    linear = implementation.function(weight, bias, weight.dtype)
    sliced = torch.cat((x, x), dim=1)[:, 64:]
    assert not sliced.is_contiguous()
    for other in (sliced, x.T.contiguous().T, x.repeat_interleave(2, dim=0)[::2]):
        assert_within_rounding(linear(other), x, weight, bias)
    assert_within_rounding(linear(x.view(2, 3, 64)).view(6, 80), x, weight, bias)
    assert linear(x[0]).shape == (80,)
    assert linear(x[:0]).shape == (0, 80)


@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_not_a_number_and_infinity_come_through(implementation: Implementation) -> None:
    runnable(implementation)
    for m in (1, 8):
        x, weight, _ = random_case(m, 64, 63)
        weight[3, 7], weight[5, 40] = math.nan, math.inf
        y = computed(implementation, x, weight, None)
        assert bool(y[:, 3].isnan().all())
        assert bool(y[:, 5].isinf().all())
        assert int(y.isfinite().sum()) == m * 62


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_what_would_be_misread_is_refused(implementation: Implementation) -> None:
    runnable(implementation)
    x, weight, bias = random_case(2, 16, 64)
    linear = implementation.function(weight, bias, weight.dtype)
    with pytest.raises(KernelError, match="does not end in the 64 inputs"):
        linear(x[:, :32])
    with pytest.raises(KernelError, match=r"float32 on cpu is not bfloat16"):
        linear(x.float())
    for bad_weight, bad_bias in (
        (weight, bias[:8]),
        (weight, bias.float()),
        (weight.float(), bias),
    ):
        with pytest.raises(KernelError, match="is not"):
            implementation.function(bad_weight, bad_bias, torch.bfloat16)


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_a_weight_need_not_be_contiguous_nor_outlive_the_packing(
    implementation: Implementation,
) -> None:
    runnable(implementation)
    x, weight, bias = random_case(3, 48, 64)
    transposed = weight.T.contiguous().T
    linear = implementation.function(transposed, bias.repeat_interleave(2)[::2], weight.dtype)
    if implementation in PACKED:
        transposed.fill_(math.nan)
    assert_within_rounding(linear(x), x, weight, bias)


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_native_is_for_bfloat16_on_a_cpu(implementation: Implementation) -> None:
    assert not implementation.when(CPU, torch.float32)
    assert not implementation.when(CPU, torch.float16)
    assert not implementation.when(torch.device("cuda"), torch.bfloat16)


@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_weight_bytes(implementation: Implementation) -> None:
    """Of weight and bias; panels are padded to 32 rows and pairs of inputs."""
    runnable(implementation)
    _, weight, bias = random_case(1, 33, 7)
    padded = implementation in PACKED
    linear = implementation.function(weight, bias, weight.dtype)
    assert linear.weight_bytes == 2 * ((64 * 8 if padded else 33 * 7) + 33)


def test_full_precision_is_pytorch_bit_for_bit() -> None:
    chosen = select("linear", CPU, torch.float32)
    assert chosen.name == "torch"
    x, weight, bias = random_case(5, 33, 70, torch.float32)
    assert torch.equal(chosen.function(weight, bias, torch.float32)(x), F.linear(x, weight, bias))
