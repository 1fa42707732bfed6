"""The reference of `w4a8_linear` against sums of integers made by hand, and what codes may spoil.
Against the reference, `test_every_implementation` tries the others."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.kernels.int4 import PackedInt4, pack_int4
from llmbench.kernels.reference.w4a8 import ReferenceW4A8Linear
from llmbench.kernels.registry import Implementation, implementations
from llmbench.kernels.triton import w4a8
from torch import Tensor

from .triton_checks import failures
from .triton_launches import TARGETS, as_on, launches
from .w4a8_cases import CASES
from .w4a16_cases import Case, random_case

CPU = torch.device("cpu")
HALF_A_STEP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
ALL = implementations("w4a8_linear")


def runs(implementation: Implementation) -> Implementation:
    if not implementation.when(CPU, torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    return implementation


def exact(x: Tensor, packed: PackedInt4, q: Tensor) -> Tensor:
    """By the definition, in 64-bit integers and float64."""
    groups = x.float().unflatten(1, (-1, packed.group_size))
    x_scales = groups.abs().amax(-1) / 127
    codes = (groups / x_scales[..., None]).round().long()
    steps = q.unflatten(1, (-1, packed.group_size)).long() - packed.zeros.long()[..., None]
    y = x.new_zeros(len(x), len(q), dtype=torch.float64)
    for g in range(groups.shape[1]):
        sums = (codes[:, None, g] * steps[None, :, g]).sum(-1)
        y += sums * x_scales[:, None, g].double() * packed.scales[None, :, g].double()
    return y


def test_the_reference_by_hand() -> None:
    """Two groups of two. The first of x is 2 and -1: a scale of 2 / 127, codes 127 and -63.5, which
    is a tie and goes to even, -64. (3 - 1) · 127 + (0 - 1) · -64 = 318, times 2 / 127 times 0.5.
    The second is 0 and 4: 127 · (15 - 5) = 1270, times 4 / 127 times 2."""
    packed = pack_int4(
        torch.tensor([[3, 0, 9, 15]]), torch.tensor([[0.5, 2.0]]), torch.tensor([[1, 5]]), 2
    )
    linear = ReferenceW4A8Linear(packed, torch.tensor([10.0]), torch.float32)
    found = linear(torch.tensor([[2.0, -1.0, 0.0, 4.0]]))
    assert found.item() == pytest.approx(318 / 127 + 80 + 10, rel=1e-6)
    assert linear.weight_bytes == 2 + 2 * 4 + 2 + 4


@pytest.mark.parametrize("dtype", list(HALF_A_STEP), ids=str)
@pytest.mark.parametrize(
    ("m", "n", "k", "group_size"), [(1, 3, 8, 8), (5, 33, 576, 64), (13, 40, 512, 256)]
)
def test_the_reference(m: int, n: int, k: int, group_size: int, dtype: torch.dtype) -> None:
    q, zeros = torch.randint(0, 16, (n, k)), torch.randint(0, 16, (n, k // group_size))
    packed = pack_int4(q, 0.01 + torch.rand(n, k // group_size), zeros, group_size)
    x = torch.randn(m, k).to(dtype)
    y, expected = ReferenceW4A8Linear(packed, None, dtype)(x), exact(x, packed, q)
    # One rounding to the dtype and a few of float32; a code on a tie may go either way.
    bound = 2 * HALF_A_STEP[dtype] * expected.abs() + expected.abs().max() * 2.0**-12
    assert bool(((y.double() - expected).abs() <= bound).all())


@pytest.mark.parametrize("zero", [0, 15])
@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_the_largest_codes_do_not_saturate(implementation: Implementation, zero: int) -> None:
    """15 · 127 · 256 in a group, of which sixteen bits hold what sixteen inputs come to."""
    k = 512
    signs = torch.tensor([1.0, -1.0])
    packed = pack_int4(
        torch.full((3, k), 15 - zero), torch.ones(3, 2), torch.full((3, 2), zero), 256
    )
    x = signs[:, None].repeat(1, k).bfloat16()  # codes of ±127, a scale of 1 / 127
    y = runs(implementation).function(packed, None, torch.bfloat16)(x)
    expected = (15 if zero == 0 else -15) * k * signs[:, None].expand(2, 3)
    assert torch.equal(y, expected.bfloat16())


@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_what_is_no_number_stays_in_its_row(implementation: Implementation) -> None:
    x, packed, bias = random_case(Case(4, 32, 128, 32, "bfloat16"))
    x[1, 5], x[2, 70] = math.nan, -math.inf
    y = runs(implementation).function(packed, bias, torch.bfloat16)(x)
    assert bool(y[1:3].isnan().all())
    assert not bool(y[[0, 3]].isnan().any())


@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_a_group_of_zeros_adds_nothing(implementation: Implementation) -> None:
    x, packed, _ = random_case(Case(2, 32, 128, 32, "bfloat16"))
    x[:, 32:64] = 0
    y = runs(implementation).function(packed, None, torch.bfloat16)(x)
    scales = packed.scales.clone()
    scales[:, 1] *= 1000
    other = PackedInt4(packed.nibbles, scales.clamp(max=60000), packed.zeros, 32)
    assert torch.equal(y, implementation.function(other, None, torch.bfloat16)(x))


@pytest.mark.parametrize(
    "implementation",
    [one for one in ALL if one.name.startswith("native")],
    ids=lambda one: one.name,
)
def test_native_weights_stay_packed(implementation: Implementation) -> None:
    """Half a byte a weight, and a float16 scale and one byte of zero point a group of 64."""
    _, packed, _ = random_case(Case(1, 64, 576, 64, "bfloat16"))
    linear = runs(implementation).function(packed, None, torch.bfloat16)
    assert linear.weight_bytes == 64 * 576 // 2 + 64 * (576 // 64) * 3


@pytest.mark.parametrize("group_size", [32, 64, 96, 128])
def test_triton_s_weights_stay_packed(group_size: int) -> None:
    """Half a byte a weight, and four a group for its scale and zero point: of groups of 32 two
    share a block, as others' halves do."""
    from llmbench.kernels.triton.w4a8 import TritonW4A8Linear

    _, packed, _ = random_case(Case(1, 64, 768, group_size, "bfloat16"))
    linear = TritonW4A8Linear(packed, None, torch.bfloat16)
    assert linear.weight_bytes == 64 * 768 // 2 + 64 * (768 // group_size) * 4


@pytest.fixture(scope="module")
def triton_errors() -> dict[str, str]:
    return failures("w4a8_cases")


@pytest.mark.parametrize("case", CASES)
def test_triton(case: str, triton_errors: dict[str, str]) -> None:
    assert triton_errors[case] == ""


@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize("target", TARGETS)
def test_triton_compiles(target: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmbench.kernels.triton.w4a8 import TritonW4A8Linear

    as_on(target, monkeypatch, w4a8)
    kernels = ("token_codes_kernel.token_codes_kernel", "w4a8_kernel.w4a8_kernel")
    with launches(*kernels, "splits_kernel.add_splits_kernel") as seen:
        x, packed, bias = random_case(Case(rows, 64, 256, 64, "float16"))
        TritonW4A8Linear(packed, bias, x.dtype)(x)
    names = [launch.kernel.__name__ for launch in seen]
    assert names == ["token_codes_kernel", "w4a8_kernel", "add_splits_kernel"]
    for launch in seen:
        assert launch.compile(target)
