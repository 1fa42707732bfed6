"""Shapes for the W4A16 linear; run as a module, it checks Triton's kernel on each of them.

Triton reads TRITON_INTERPRET when it is imported, so the interpreter needs a process of its own.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass

import torch
from llmbench.kernels.packing import PackedInt4, pack
from llmbench.kernels.reference.w4a16 import ReferenceInt4Linear
from torch import Tensor

from .closeness import assert_near


@dataclass(frozen=True)
class Case:
    m: int
    n: int
    k: int
    group_size: int
    dtype: str


CASES = {
    "one row": Case(1, 64, 64, 32, "float32"),
    "ragged rows and columns": Case(3, 70, 128, 64, "float16"),
    "two tiles of rows, split K": Case(65, 16, 256, 128, "float32"),
    "a group of two blocks": Case(2, 5, 512, 256, "bfloat16"),
    "K of SmolLM2": Case(2, 16, 576, 64, "bfloat16"),
}


def random_case(case: Case) -> tuple[Tensor, PackedInt4, Tensor]:
    """x, weights and bias. The columns of x differ in size, as activations do."""
    dtype = getattr(torch, case.dtype)
    groups = case.k // case.group_size
    packed = pack(
        torch.randint(0, 16, (case.n, case.k)),
        (0.01 + torch.rand(case.n, groups)).half(),
        torch.randint(0, 16, (case.n, groups)),
        case.group_size,
    )
    x = torch.randn(case.m, case.k) * torch.rand(case.k)
    return x.to(dtype), packed, torch.randn(case.n).to(dtype)


def _check_triton(case: Case) -> str:
    from llmbench.kernels.triton.w4a16 import TritonInt4Linear

    x, packed, bias = random_case(case)
    # Rows that are not next to each other, as a slice of a fused projection's are.
    x = torch.cat((x, x), dim=1)[:, : case.k]
    expected = ReferenceInt4Linear(packed, bias, x.dtype)(x)
    try:
        assert_near(TritonInt4Linear(packed, bias, x.dtype)(x), expected)
    except Exception:  # noqa: BLE001 -- reported to the test that asked, whatever it is
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    print(json.dumps({name: _check_triton(case) for name, case in CASES.items()}))
