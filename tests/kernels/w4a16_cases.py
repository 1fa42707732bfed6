"""Odd groups for the W4A16 linear; run as a module, it checks Triton's kernels on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from llmbench.kernels.int4 import PackedInt4, pack_int4
from llmbench.kernels.reference.w4a16 import ReferenceW4A16Linear
from torch import Tensor

from .closeness import apart, assert_near
from .triton_checks import report


@dataclass(frozen=True)
class Case:
    m: int
    n: int
    k: int
    group_size: int
    dtype: str
    scales: str = "float16"
    zero: int | None = None  # of all groups; None: drawn


# Groups that `test_every_implementation` has none of: not of a block, nor of several.
CASES = {
    "66 rows, ragged groups": Case(66, 10, 96, 48, "bfloat16"),
    "many rows, ragged groups": Case(260, 140, 96, 48, "bfloat16"),
    "many rows, words of four": Case(260, 20, 256, 128, "float16"),
    "a group of 48": Case(2, 20, 96, 48, "float32"),
    "a group of 6": Case(3, 8, 24, 6, "bfloat16"),
    "a group of all inputs": Case(2, 8, 200, 200, "float16"),
    "a part of three, others of two": Case(3, 300, 128 * 33, 128, "bfloat16", "bfloat16"),
    "parts that differ, 40 rows": Case(40, 130, 128 * 9, 128, "float16", "bfloat16"),
    "parts that differ, ragged groups": Case(5, 70, 48 * 21, 48, "float16"),
    "symmetric": Case(2, 140, 512, 128, "bfloat16", zero=8),
    "symmetric, float32": Case(2, 20, 512, 64, "float32", zero=8),
    "scales in bfloat16, float32": Case(3, 20, 512, 128, "float32", "bfloat16"),
    "scales in float32": Case(3, 20, 512, 128, "float32", "float32"),
}


def random_case(case: Case) -> tuple[Tensor, PackedInt4, Tensor]:
    """x, weights and bias. The columns of x differ in size, as activations do."""
    dtype = getattr(torch, case.dtype)
    groups = case.k // case.group_size
    zeros = torch.randint(0, 16, (case.n, groups))
    packed = pack_int4(
        torch.randint(0, 16, (case.n, case.k)),
        (0.01 + torch.rand(case.n, groups)).to(getattr(torch, case.scales)),
        zeros if case.zero is None else torch.full_like(zeros, case.zero),
        case.group_size,
    )
    x = torch.randn(case.m, case.k) * torch.rand(case.k)
    return x.to(dtype), packed, torch.randn(case.n).to(dtype)


def _check_triton(case: Case) -> None:
    from llmbench.kernels.triton.w4a16 import TritonW4A16Linear

    x, packed, bias = random_case(case)
    # Rows that are not next to each other, as a slice of a fused projection's are.
    x = torch.cat((x, x), dim=1)[:, : case.k]
    expected = ReferenceW4A16Linear(packed, bias, x.dtype)(x)
    assert_near(TritonW4A16Linear(packed, apart(bias), x.dtype)(x), expected)


def _check_every_code(dtype: str) -> None:
    """Every code with every zero point, both halves of a byte, in units that every dtype holds."""
    from llmbench.kernels.triton.w4a16 import TritonW4A16Linear

    codes = torch.arange(16)[:, None].expand(16, 512).repeat(2, 1)
    zeros = torch.arange(16).expand(32, 16)
    packed = pack_int4(codes, torch.ones(32, 16), zeros, 32)
    x = torch.zeros(32, 512)
    x[torch.arange(16), 32 * torch.arange(16)] = 1  # the low half of group 0, 1, …
    x[16 + torch.arange(16), 32 * torch.arange(16) + 31] = 1
    x = x.to(getattr(torch, dtype))
    expected = (torch.arange(16)[:, None] - torch.arange(16)).T.repeat(2, 2)
    assert torch.equal(TritonW4A16Linear(packed, None, x.dtype)(x).float(), expected.float())


CODES = ("float32", "float16", "bfloat16")

if __name__ == "__main__":
    checks = {name: partial(_check_triton, case) for name, case in CASES.items()}
    checks |= {f"every code, {dtype}": partial(_check_every_code, dtype) for dtype in CODES}
    report(checks)
