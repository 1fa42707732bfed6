"""Odd groups for the W4A8 linear; run as a module, it checks Triton's kernels on each of them."""

from __future__ import annotations

from functools import partial

import torch
from llmbench.kernels.reference.w4a8 import ReferenceW4A8Linear
from llmbench.kernels.specs.closeness import HALF_A_STEP, within

from .closeness import apart
from .triton_checks import report
from .w4a16_cases import Case, random_case

# What `test_every_implementation` has none of: groups of two halves, of several blocks, of a block
# and a half, in parts of the inputs that are not all as long.
CASES = {
    "a group of two halves": Case(3, 140, 512, 128, "bfloat16"),
    "a group of two blocks": Case(2, 20, 1024, 256, "float16"),
    "groups of a half": Case(5, 140, 32 * 37, 32, "float16", "bfloat16"),
    "groups of three halves": Case(4, 130, 96 * 11, 96, "bfloat16"),
    "a group of 6": Case(3, 8, 24, 6, "float32"),
    "a part of three blocks, others of two": Case(1, 70, 128 * 33, 128, "float32", "bfloat16"),
    "40 rows": Case(40, 70, 128 * 9, 128, "float16"),
    "symmetric": Case(2, 20, 512, 64, "bfloat16", zero=8),
    "scales in float32": Case(3, 20, 512, 128, "bfloat16", "float32"),
}


def _check(case: Case) -> None:
    """One rounding to the dtype; a code on a tie may go either way."""
    from llmbench.kernels.triton.w4a8 import TritonW4A8Linear

    x, packed, bias = random_case(case)
    x = torch.cat((x, x), dim=1)[:, : case.k]
    expected = ReferenceW4A8Linear(packed, bias, x.dtype)(x)
    exact = expected.double()
    tie = exact.abs().amax(-1, keepdim=True) * 2.0**-12
    bound = 2 * HALF_A_STEP[x.dtype] * exact.abs() + tie
    found = within(TritonW4A8Linear(packed, apart(bias), x.dtype)(x), exact, bound)
    assert found.problem is None, found.problem


if __name__ == "__main__":
    report({name: partial(_check, case) for name, case in CASES.items()})
