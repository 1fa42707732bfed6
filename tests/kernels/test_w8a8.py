"""The reference of `w8a8_linear` against sums of integers made by hand, and what codes may spoil.
Against the reference, `test_every_implementation` tries the others."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from llmbench.kernels.pytorch.w8a8 import TorchW8A8Linear, _float_sums, _integer_sums
from llmbench.kernels.reference.w8a8 import ReferenceW8A8Linear
from llmbench.kernels.registry import Implementation, KernelError, implementations
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows, stack_w8a8
from torch import Tensor

from .triton_launches import TARGETS, as_on, launches

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
HALF_A_STEP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
ALL = implementations("w8a8_linear")


def random_weight(n: int, k: int) -> W8A8Weight:
    return W8A8Weight(*quantize_rows(torch.randn(n, k) * torch.rand(n, 1)))


def exact(x: Tensor, weight: W8A8Weight, bias: Tensor | None) -> Tensor:
    """By the definition, in numpy's 64-bit integers and float64."""
    wide = x.double().numpy()
    scales = (abs(wide).max(-1) / 127).astype("float32").astype("float64")
    codes = (x.float() / torch.from_numpy(scales).float()[:, None]).round().to(torch.int64)
    sums = codes.numpy() @ weight.codes.to(torch.int64).numpy().T
    y = torch.from_numpy(sums * scales[:, None] * weight.scales.double().numpy())
    return y if bias is None else y + bias.double()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 16, 32), (8, 64, 576), (3, 17, 100), (33, 48, 64), (1, 1, 1), (17, 130, 1536)],
)
def test_the_reference(m: int, n: int, k: int, dtype: torch.dtype) -> None:
    x, weight, bias = torch.randn(m, k).to(dtype), random_weight(n, k), torch.randn(n).to(dtype)
    for added in (None, bias):
        y, expected = ReferenceW8A8Linear(weight, added, dtype)(x), exact(x, weight, added)
        assert y.dtype == dtype
        assert y.shape == (m, n)
        # One rounding to the dtype and a few of float32; the sum of integers has no error, but a
        # code that lies on a tie may go either way where a scale differs in its last bit.
        tie = expected.abs().amax(-1, keepdim=True) * 2.0**-12
        bound = 2 * HALF_A_STEP[dtype] * expected.abs() + tie
        assert bool(((y.double() - expected).abs() <= bound).all())


@pytest.mark.parametrize("implementation", ALL, ids=lambda one: one.name)
def test_the_largest_codes_do_not_saturate(implementation: Implementation) -> None:
    """127 · 127 · K, which products of pairs in 16 bits would cut off."""
    if not implementation.when(CPU, torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    k = 1536
    signs = torch.tensor([1.0, -1.0])
    weight = W8A8Weight((127 * signs[:, None]).repeat(1, k).to(torch.int8), torch.ones(2))
    x = signs[:, None].repeat(1, k).bfloat16()  # codes of ±127, a scale of 1 / 127
    y = implementation.function(weight, None, torch.bfloat16)(x)
    expected = 127.0 * k * signs[:, None] * signs
    assert torch.equal(y, expected.bfloat16())


@pytest.mark.parametrize("sums", [_integer_sums, _float_sums], ids=lambda one: one.__name__)
@pytest.mark.parametrize("k", [1, 1024, 1025, 20_000])
def test_pytorchs_sums_are_those_of_integers(sums: Callable[..., Tensor], k: int) -> None:
    """Of the largest that there are, odd ones too, which float32 does not hold when it is past
    2^24; and of some between."""
    x = torch.full((3, k), -127, dtype=torch.int8)
    x[1:] = torch.randint(-127, 128, (2, k))
    weight = torch.full((k, 4), -128, dtype=torch.int8)
    weight[:, 2:] = torch.randint(-128, 128, (k, 2))
    weight[:, 1] = -127
    expected = x.to(torch.int64).numpy() @ weight.to(torch.int64).numpy()
    assert torch.equal(sums(x, weight), torch.from_numpy(expected).float())


_AS_ON = """
import sys
from llmbench.kernels.native import library
library.cpu_flags = lambda: frozenset(sys.argv[1:])
from llmbench.kernels.registry import implementations
(found,) = (one for one in implementations("w8a8_linear") if one.name == "torch-cpu")
print(found.emulates)
"""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("avx2", "fma"), "codes are multiplied as float32: fewer bytes, no faster arithmetic"),
        ((), "codes are multiplied as float32: fewer bytes, no faster arithmetic"),
        (("avx2", "avx_vnni"), "None"),
        (("avx512f", "avx512_vnni"), "None"),
    ],
    ids=["avx2", "none", "avx-vnni", "avx512-vnni"],
)
def test_products_of_floats_are_called_emulated(flags: tuple[str, ...], said: str) -> None:
    """In a process of its own: what an implementation is, is settled as it is registered."""
    command = [sys.executable, "-c", _AS_ON, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == said


def test_what_is_said_here_is_what_is_done() -> None:
    (found,) = (one for one in ALL if one.name == "torch-cpu")
    linear = TorchW8A8Linear(random_weight(4, 8), None, torch.float32)
    assert (linear._sums is _float_sums) == (found.emulates is not None)


def test_rows_of_zeros_and_of_nan() -> None:
    codes, scales = quantize_rows(torch.tensor([[0.0, 0.0], [math.nan, 1.0], [-254.0, 127.0]]))
    assert codes[0].tolist() == [0, 0]
    assert scales[1].isnan()
    assert codes[2].tolist() == [-127, 64]  # 63.5 is a tie, and goes to even
    assert scales[2] == 2.0


@pytest.mark.parametrize(
    "implementation",
    [one for one in ALL if not one.name.startswith("native")],  # those: `test_packed_maps`
    ids=lambda one: one.name,
)
def test_a_nan_stays_in_its_row(implementation: Implementation) -> None:
    if not implementation.when(CPU, torch.bfloat16):
        pytest.skip(f"{implementation.name} does not run here")
    x = torch.randn(3, 64).bfloat16()
    x[1, 5] = math.nan
    y = implementation.function(random_weight(32, 64), None, torch.bfloat16)(x)
    assert bool(y[1].isnan().all())
    assert not bool(y[[0, 2]].isnan().any())


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(KernelError, match="one a row"):
        W8A8Weight(torch.zeros(4, 8, dtype=torch.int8), torch.ones(3))
    with pytest.raises(KernelError, match="int8"):
        W8A8Weight(torch.zeros(4, 8), torch.ones(4))
    with pytest.raises(KernelError, match="in_features"):
        stack_w8a8([random_weight(4, 8), random_weight(4, 16)])


def test_stacking_keeps_every_row() -> None:
    parts = [random_weight(n, 8) for n in (3, 1, 5)]
    both = stack_w8a8(parts)
    assert torch.equal(both.codes, torch.cat([part.codes for part in parts]))
    assert torch.equal(both.scales, torch.cat([part.scales for part in parts]))


@pytest.mark.parametrize("target", TARGETS)
def test_triton_compiles(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it computes what the reference does is in test_fp8.py: the kernels are the same."""
    from llmbench.kernels.triton import codes
    from llmbench.kernels.triton.w8a8 import TritonW8A8Linear

    as_on(target, monkeypatch, codes)

    kernels = ("token_codes_kernel.token_codes_kernel", "codes_kernel.codes_kernel")
    with launches(*kernels, "splits_kernel.add_splits_kernel") as seen:
        linear = TritonW8A8Linear(random_weight(48, 200), torch.randn(48), torch.float16)
        linear(torch.randn(200, 200).half())
    assert len(seen) == 3
    for launch in seen:
        assert launch.compile(target)
