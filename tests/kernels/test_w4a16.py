from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.kernels.int4 import PackedInt4, dequantize_int4, pack_int4, stack_int4, unpack_int4
from llmbench.kernels.reference.w4a16 import ReferenceW4A16Linear
from llmbench.kernels.registry import Implementation, KernelError, implementations, select
from llmbench.kernels.specs.closeness import within
from llmbench.kernels.triton import nibbles
from torch import Tensor

from .triton_checks import failures
from .triton_launches import TARGETS, as_on, launches
from .w4a16_cases import CASES, CODES, Case, random_case

ALL = implementations("w4a16_linear")
ON_CPU = [one for one in ALL if one.name == "torch-cpu"]
NATIVE = [one for one in ALL if one.name.startswith("native")]


def test_a_packed_weight_by_hand() -> None:
    """Low nibble first: 0x21 holds codes 1, 2; (1 - 3) · 0.5 = -1, (2 - 3) · 0.5 = -0.5."""
    packed = PackedInt4(
        nibbles=torch.tensor([[0x21, 0xF0]], dtype=torch.uint8),
        scales=torch.tensor([[0.5, 2.0]]),
        zeros=torch.tensor([[3, 1]], dtype=torch.uint8),
        group_size=2,
    )
    assert unpack_int4(packed).tolist() == [[1, 2, 0, 15]]
    assert dequantize_int4(packed).tolist() == [[-1.0, -0.5, -2.0, 28.0]]


def test_the_reference_by_hand() -> None:
    packed = pack_int4(torch.tensor([[1, 2]]), torch.tensor([[0.5]]), torch.tensor([[3]]), 2)
    linear = ReferenceW4A16Linear(packed, torch.tensor([10.0]), torch.float32)
    assert linear(torch.tensor([[4.0, 2.0]])).tolist() == [[5.0]]  # 4·-1 + 2·-0.5 + 10
    assert linear.weight_bytes == 1 + 4 + 1 + 4


@settings(deadline=None)
@given(rows=st.integers(1, 5), groups=st.integers(1, 4), group_size=st.sampled_from([2, 6, 32]))
def test_pack_and_unpack_are_inverse(rows: int, groups: int, group_size: int) -> None:
    q = torch.randint(0, 16, (rows, groups * group_size))
    scales, zeros = torch.rand(rows, groups), torch.randint(0, 16, (rows, groups))
    packed = pack_int4(q, scales, zeros, group_size)
    assert torch.equal(unpack_int4(packed), q.to(torch.uint8))
    expected = (q - zeros.repeat_interleave(group_size, 1)) * scales.repeat_interleave(
        group_size, 1
    )
    assert torch.equal(dequantize_int4(packed), expected)


def test_stacking_is_along_out_features() -> None:
    parts = [random_case(Case(1, rows, 64, 32, "float32"))[1] for rows in (3, 5)]
    assert torch.equal(
        dequantize_int4(stack_int4(parts)), torch.cat([dequantize_int4(part) for part in parts])
    )


@pytest.mark.parametrize(
    ("q", "group_size", "message"),
    [
        (torch.full((2, 6), 16), 2, "outside 0-15"),
        (torch.zeros(2, 6), 4, "not an even divisor of 6"),
        (torch.zeros(2, 5), 5, "is odd"),
    ],
)
def test_a_weight_that_cannot_be_packed(q: torch.Tensor, group_size: int, message: str) -> None:
    groups = q.shape[1] // group_size
    with pytest.raises(KernelError, match=message):
        pack_int4(q, torch.ones(2, groups), torch.zeros(2, groups), group_size)


@pytest.mark.parametrize(
    ("m", "n", "k", "group_size"),
    [(1, 1, 8, 8), (3, 33, 48, 24), (12, 64, 128, 128), (13, 80, 576, 64), (40, 100, 1536, 32)],
)
@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_native(implementation: Implementation, m: int, n: int, k: int, group_size: int) -> None:
    """Nearer to float64 than bfloat16's rounding of the result by no more than float32's errors:
    the weights themselves are not rounded."""
    if not implementation.when(torch.device("cpu"), torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    x, packed, bias = random_case(Case(m, n, k, group_size, "bfloat16"))
    weight = dequantize_int4(packed).double()
    for added in (None, bias):
        exact = x.double() @ weight.T + (0 if added is None else added.double())
        # Sums of x · (q - 8) and of x · (8 - zero) may cancel: each is at most 15 scales.
        sizes = x.double().abs().sum(-1, keepdim=True) * 15 * float(packed.scales.max())
        bound = 2.0**-8 * exact.abs() + (k + 8) * 2.0**-24 * (sizes + bias.double().abs())
        y = implementation.function(packed, added, x.dtype)(x)
        assert bool(((y.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_native_weights_stay_packed(implementation: Implementation) -> None:
    """Half a byte a weight, and a float16 scale and one byte of zero point a group of 64."""
    if not implementation.when(torch.device("cpu"), torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    _, packed, _ = random_case(Case(1, 64, 576, 64, "bfloat16"))
    linear = implementation.function(packed, None, torch.bfloat16)
    assert linear.weight_bytes == 64 * 576 // 2 + 64 * (576 // 64) * 3


@pytest.mark.parametrize(("n", "group_size"), [(24, 32), (16, 16), (16, 4)])
def test_what_pytorchs_operator_cannot_take_is_widened_instead(n: int, group_size: int) -> None:
    """And counted as what it is; an operator that was asked for refuses."""
    x, packed, bias = random_case(Case(2, n, 64, group_size, "bfloat16"))
    where = torch.device("cpu"), torch.bfloat16
    without = select("w4a16_linear", *where, {"w4a16_linear": "torch-widened"})
    y = without.function(packed, bias, torch.bfloat16)(x)
    exact = x.double() @ dequantize_int4(packed).double().T + bias.double()
    assert within(y, exact, _widening_errors(x, packed, exact, bias)).problem is None
    assert not ON_CPU[0].takes(packed, bias, torch.bfloat16)  # type: ignore[misc]
    forced = select("w4a16_linear", *where, {"w4a16_linear": "torch-cpu"})
    with pytest.raises(KernelError, match="'torch-cpu', which was asked for, does not take"):
        forced.function(packed, bias, torch.bfloat16)


def _widening_errors(x: Tensor, packed: PackedInt4, exact: Tensor, bias: Tensor) -> Tensor:
    """What bfloat16's roundings allow, [rows, out]: a scale, a shift and the weight that they make
    are rounded, then the product and its sum with the bias."""
    scales, zeros = (
        one.double().repeat_interleave(packed.group_size, 1)
        for one in (packed.scales, packed.zeros)
    )
    codes = unpack_int4(packed).double()
    rounded = ((codes - 8).abs() + (8 - zeros).abs() + (codes - zeros).abs()) * scales
    unit = 2.0**-8
    return 1.01 * unit * (x.double().abs() @ rounded.T + 2 * exact.abs() + bias.double().abs())


def test_cpu_weights_stay_packed() -> None:
    """Half a byte a weight, and one scale and one shift a group of 64."""
    x, packed, _ = random_case(Case(1, 64, 576, 64, "bfloat16"))
    for name in ("torch-cpu", "torch-widened"):
        one = select("w4a16_linear", x.device, x.dtype, {"w4a16_linear": name})
        linear = one.function(packed, None, x.dtype)
        assert linear.weight_bytes == 64 * 576 // 2 + 64 * (576 // 64) * 2 * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_word_holds_every_16_bit_scale_with_its_zero_point(dtype: torch.dtype) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    scales = every[every.isfinite()].view(-1, 16)
    zeros = torch.arange(16, dtype=torch.uint8).expand(scales.shape)
    words = nibbles.grids(scales, zeros).T
    assert torch.equal(words & 15, zeros.int())
    assert torch.equal((words & -16).view(torch.float32), scales.float())


def test_a_scale_in_float32_is_rounded_to_what_a_word_leaves() -> None:
    """To the nearest of 20 bits, ties to even."""
    steps = torch.tensor([[0.49, 0.5, 1.5, -2.51]])
    zeros = torch.tensor([[0, 15, 0, 15]], dtype=torch.uint8)
    words = nibbles.grids(1 + steps * 2.0**-19, zeros)[:, 0]
    assert ((words & -16).view(torch.float32).double() - 1).mul(2**19).tolist() == [0, 0, 2, -2.5]


def test_triton_s_weights_stay_packed() -> None:
    """Half a byte a weight, and four a group of 64 for its scale and zero point."""
    pytest.importorskip("triton")
    from llmbench.kernels.triton.w4a16 import TritonW4A16Linear

    _, packed, _ = random_case(Case(1, 128, 576, 64, "bfloat16"))
    linear = TritonW4A16Linear(packed, None, torch.bfloat16)
    assert linear.weight_bytes == 128 * 576 // 2 + 128 * (576 // 64) * 4


@pytest.fixture(scope="module")
def triton_errors() -> dict[str, str]:
    return failures("w4a16_cases")


@pytest.mark.parametrize("case", [*CASES, *(f"every code, {dtype}" for dtype in CODES)])
def test_triton(case: str, triton_errors: dict[str, str]) -> None:
    assert triton_errors[case] == ""


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("target", TARGETS)
def test_triton_compiles(target: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmbench.kernels.triton.w4a16 import TritonW4A16Linear

    as_on(target, monkeypatch, nibbles)
    kernels = ("nibbles_kernel.nibbles_kernel", "nibbles_kernel.widen_kernel")
    with launches(*kernels, "splits_kernel.add_splits_kernel") as seen:
        x, packed, bias = random_case(Case(3, 64, 256, 128, dtype))
        linear = TritonW4A16Linear(packed, bias, x.dtype)
        linear(x)
        linear(x.repeat(100, 1))
    assert [launch.kernel.__name__ for launch in seen] == [
        "nibbles_kernel",
        "add_splits_kernel",
        "widen_kernel",
    ]
    for launch in seen:
        assert launch.compile(target)


@pytest.mark.parametrize(("rows", "kernel"), [(16, "nibbles_kernel"), (64, "widen_kernel")])
@pytest.mark.parametrize("target", TARGETS)
def test_triton_in_float32_fits_any_device(target: str, rows: int, kernel: str) -> None:
    """Loops are long enough to be pipelined, so that their stages' memory counts."""
    from llmbench.kernels.triton.w4a16 import TritonW4A16Linear

    kernels = ("nibbles_kernel.nibbles_kernel", "nibbles_kernel.widen_kernel")
    with launches(*kernels, "splits_kernel.add_splits_kernel") as seen:
        x, packed, _ = random_case(Case(rows, 64, 4096, 128, "float32"))
        TritonW4A16Linear(packed, None, x.dtype)(x)
    assert seen[0].kernel.__name__ == kernel
    assert seen[0].compile(target)
