"""Shapes for the FP4 linear; run as a module, it checks Triton's kernels on each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from llmbench.kernels.fp4 import Fp4Weight, ScaleFormat, quantize_mxfp4, quantize_nvfp4
from llmbench.kernels.reference.fp4 import ReferenceFp4Linear
from torch import Tensor

from .closeness import apart, assert_near
from .triton_checks import report


@dataclass(frozen=True)
class Case:
    m: int
    n: int
    k: int
    form: ScaleFormat
    dtype: str


CASES = {
    "nvfp4, one row": Case(1, 20, 64, "e4m3", "float32"),
    "nvfp4, split K": Case(3, 33, 576, "e4m3", "bfloat16"),
    "nvfp4, ragged K": Case(2, 16, 272, "e4m3", "float16"),
    "nvfp4, 70 rows": Case(70, 10, 80, "e4m3", "bfloat16"),
    "nvfp4, many rows": Case(260, 140, 80, "e4m3", "bfloat16"),
    "mxfp4, one row": Case(1, 20, 64, "e8m0", "float32"),
    "mxfp4, split K": Case(3, 33, 576, "e8m0", "float16"),
    "mxfp4, ragged K": Case(2, 16, 160, "e8m0", "bfloat16"),
    "mxfp4, many rows": Case(260, 10, 96, "e8m0", "float16"),
    "mxfp4, many rows, float32": Case(70, 10, 96, "e8m0", "float32"),
}
FORMS: tuple[ScaleFormat, ...] = ("e4m3", "e8m0")


def random_case(case: Case) -> tuple[Tensor, Fp4Weight, Tensor]:
    """x, weights and bias. Rows of the weights, and columns of both, differ in size."""
    dtype = getattr(torch, case.dtype)
    weight = torch.randn(case.n, case.k) * torch.rand(case.n, 1) * torch.rand(case.k)
    quantize = quantize_nvfp4 if case.form == "e4m3" else quantize_mxfp4
    x = torch.randn(case.m, case.k) * torch.rand(case.k)
    return x.to(dtype), quantize(weight), torch.randn(case.n).to(dtype)


def _check_triton(case: Case) -> None:
    from llmbench.kernels.triton.fp4 import TritonFp4Linear

    x, weight, bias = random_case(case)
    x = torch.cat((x, x), dim=1)[:, : case.k]
    expected = ReferenceFp4Linear(weight, bias, x.dtype)(x)
    lying = replace(weight, row_scales=apart(weight.row_scales))
    assert_near(TritonFp4Linear(lying, apart(bias), x.dtype)(x), expected)


def every_code(form: ScaleFormat) -> Fp4Weight:
    """Row s, column k: code k % 16 under scale s, every scale that the format has (of e8m0, those
    whose products float32 holds); 32 columns, each code in either half of a byte and a block."""
    scales = torch.arange(127) if form == "e4m3" else torch.arange(4, 252)
    codes = torch.arange(32) % 16
    codes = torch.cat((codes[:31], codes[:1]))
    nibbles = (codes[0::2] | (codes[1::2] << 4)).to(torch.uint8).expand(len(scales), 16)
    blocks = 32 // (16 if form == "e4m3" else 32)
    bytes_ = scales.to(torch.uint8)[:, None].expand(-1, blocks)
    return Fp4Weight(nibbles.contiguous(), bytes_.contiguous(), torch.ones(len(scales)), form)


def _check_every_code(form: ScaleFormat) -> None:
    from llmbench.kernels.triton.fp4 import TritonFp4Linear

    weight = every_code(form)
    expected = ReferenceFp4Linear(weight, None, torch.float32)(torch.eye(32))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        if dtype == torch.float16 and form == "e8m0":
            continue  # its range is smaller
        linear = TritonFp4Linear(weight, None, dtype)
        found = torch.cat([linear(part).float() for part in torch.eye(32).to(dtype).split(32)])
        assert torch.equal(found, expected), dtype


if __name__ == "__main__":
    checks: dict[str, Callable[[], None]] = {
        name: partial(_check_triton, case) for name, case in CASES.items()
    }
    checks |= {f"every code, {form}": partial(_check_every_code, form) for form in FORMS}
    report(checks)
