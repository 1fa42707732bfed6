"""Shapes for the eight-bit products; run as a module, it checks Triton's kernels on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from llmbench.kernels.fp8 import E4M3, Fp8Weight, quantize_activations, quantize_fp8
from llmbench.kernels.reference.fp8 import ReferenceFp8Linear
from llmbench.kernels.reference.w8a8 import ReferenceW8A8Linear
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows
from torch import Tensor

from .closeness import apart, assert_near
from .triton_checks import report


@dataclass(frozen=True)
class Case:
    """blocks: of an e4m3 weight, rows x columns (0: all); None: an int8 weight."""

    m: int
    n: int
    k: int
    dtype: str
    blocks: tuple[int, int] | None = None
    static: bool = False


CASES = {
    "int8, many rows": Case(130, 20, 96, "float32"),
    "fp8, a scale a row": Case(1, 16, 64, "float32", (1, 0)),
    "fp8, a scale a tensor, static inputs": Case(5, 33, 200, "bfloat16", (0, 0), static=True),
    "fp8, ragged, split K": Case(3, 70, 576, "float16", (1, 0)),
    "fp8, no whole fours": Case(9, 40, 67, "bfloat16", (1, 0)),
    "fp8, blocks, no whole fours": Case(3, 40, 131, "float32", (1, 128)),
    "fp8, blocks": Case(2, 140, 256, "bfloat16", (128, 128)),
    "fp8, ragged blocks": Case(4, 192, 576, "float32", (128, 128)),
    "fp8, many rows": Case(130, 20, 192, "float32", (64, 128)),
}


def random_x(case: Case) -> Tensor:
    """The columns differ in size, as activations do; rows are not next to each other."""
    x = torch.randn(case.m, case.k) * torch.rand(case.k)
    return torch.cat((x, x), dim=1).to(getattr(torch, case.dtype))[:, : case.k]


def random_int8(case: Case) -> W8A8Weight:
    return W8A8Weight(*quantize_rows(torch.randn(case.n, case.k) * torch.rand(case.n, 1)))


def random_fp8(case: Case) -> Fp8Weight:
    assert case.blocks is not None
    rows, columns = case.blocks
    values = torch.randn(case.n, case.k) * torch.rand(case.n, 1)
    weight = quantize_fp8(values, rows or case.n, columns or case.k)
    # A static scale that some activations are beyond.
    return replace(weight, input_scale=torch.tensor([2.0**-9])) if case.static else weight


def _check_product(case: Case) -> None:
    from llmbench.kernels.triton.fp8 import TritonFp8Linear, TritonWidenedFp8Linear
    from llmbench.kernels.triton.w8a8 import TritonW8A8Linear

    x = random_x(case)
    bias = torch.randn(case.n).to(x.dtype) if case.n != 16 else None
    if case.blocks is None:
        weight = random_int8(case)
        expected = ReferenceW8A8Linear(weight, bias, x.dtype)(x)
        assert_near(TritonW8A8Linear(weight, bias, x.dtype)(x), expected)
        return
    weight = random_fp8(case)
    expected = ReferenceFp8Linear(weight, bias, x.dtype)(x)
    for made in (TritonFp8Linear, TritonWidenedFp8Linear):
        assert_near(made(weight, bias, x.dtype)(x[None]), expected[None])


def _check_every_e4m3_rounding(_: Case) -> None:
    """Every code, every tie between two codes and its neighbours, and what lies beyond."""
    from llmbench.kernels.triton.token_codes import token_codes

    codes = torch.arange(127, dtype=torch.uint8).view(E4M3).float()
    ties = (codes[1:] + codes[:-1]) / 2
    near = torch.cat([torch.nextafter(ties, torch.tensor(s * 1e9)) for s in (-1.0, 1.0)])
    beyond = torch.tensor([449.0, 464.0, 480.0, 1e9, 2.0**-40, 2.0**-10])
    values = torch.cat((codes, ties, near, beyond))
    values = torch.cat((values, -values))
    got, scales = token_codes(values[None], E4M3, given=torch.ones(1))
    # What torch makes of them; beyond 448 it would give NaN.
    assert torch.equal(got[0], values.clamp(-448, 448).to(E4M3).view(torch.uint8))
    assert scales.tolist() == [[1.0]]


def _check_every_e4m3_code(_: Case) -> None:
    """Each of the 254 numbers times 1, through both kernels."""
    from llmbench.kernels.triton.fp8 import TritonFp8Linear, TritonWidenedFp8Linear

    codes = torch.arange(256, dtype=torch.uint8)
    codes = codes[(codes & 0x7F) != 0x7F].view(E4M3)
    weight = Fp8Weight(codes.repeat(16, 1).T.contiguous(), torch.ones(254, 1), 1, 16)
    for made in (TritonFp8Linear, TritonWidenedFp8Linear):
        x = torch.zeros(1, 16)
        x[0, 3] = 448.0
        assert torch.equal(made(weight, None, torch.float32)(x)[0], 448 * codes.float())


def _check_activations(_: Case) -> None:
    from llmbench.kernels.triton.token_codes import token_codes

    for case in (Case(3, 8, 100, "float32", (1, 0)), Case(5, 8, 300, "bfloat16", (1, 128))):
        x, weight = random_x(case), random_fp8(case)
        x[1] = 0
        x[2, 5] = torch.nan
        x[0, 99] = torch.inf
        codes, scales = token_codes(x, E4M3, weight.block_columns)
        expected_codes, expected_scales = quantize_activations(x, weight)
        finite = torch.isfinite(expected_scales)
        assert torch.equal(torch.isfinite(scales), finite)
        assert torch.equal(scales[finite], expected_scales[finite])
        # As numbers: what is divided by an infinity may be a negative zero.
        assert torch.equal(codes.view(E4M3).float(), expected_codes.float())
    x = random_x(Case(4, 8, 5000, "float16"))
    codes, scales = token_codes(x, torch.int8)
    expected_codes, expected_scales = quantize_rows(x)
    assert torch.equal(codes, expected_codes)
    assert torch.equal(scales[:, 0], expected_scales)


def _check_weights_that_lie_apart(_: Case) -> None:
    """Kernels read them as if side by side."""
    from llmbench.kernels.triton.fp8 import TritonWidenedFp8Linear
    from llmbench.kernels.triton.w8a8 import TritonW8A8Linear

    case = Case(2, 40, 192, "bfloat16", (1, 0))
    x, bias = random_x(case), torch.randn(40).bfloat16()
    weight = random_int8(case)
    expected = ReferenceW8A8Linear(weight, bias, x.dtype)(x)
    lying = W8A8Weight(apart(weight.codes), apart(weight.scales))
    assert_near(TritonW8A8Linear(lying, apart(bias), x.dtype)(x), expected)
    fp8 = random_fp8(case)
    expected = ReferenceFp8Linear(fp8, bias, x.dtype)(x)
    codes = apart(fp8.codes.view(torch.uint8)).view(E4M3)
    lying = replace(fp8, codes=codes, scales=apart(fp8.scales))
    assert_near(TritonWidenedFp8Linear(lying, apart(bias), x.dtype)(x), expected)


CHECKS = {
    "weights that lie apart": _check_weights_that_lie_apart,
    "every rounding to e4m3": _check_every_e4m3_rounding,
    "every e4m3 code": _check_every_e4m3_code,
    "codes and scales of activations": _check_activations,
}

if __name__ == "__main__":
    torch.manual_seed(torch.seed())
    named = {name: (_check_product, case) for name, case in CASES.items()}
    named |= {name: (check, Case(0, 0, 0, "float32")) for name, check in CHECKS.items()}
    report({name: partial(*one) for name, one in named.items()})
