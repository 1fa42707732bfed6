"""What the parts of a product take whose inputs are split over programs."""

from __future__ import annotations

import pytest
import torch
from llmbench.kernels.fp8 import quantize_fp8
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.triton.tiles import ENOUGH_PROGRAMS
from llmbench.kernels.w8a8 import W8A8Weight

from .llama_launches import LINEAR, fp8
from .triton_checks import triton_of
from .triton_launches import Launch, launches

N, K, BF16 = 64, 1024, torch.bfloat16
WEIGHTS = {
    "w8a8_linear": lambda: W8A8Weight(torch.zeros(N, K, dtype=torch.int8), torch.ones(N)),
    "fp8_linear": lambda: quantize_fp8(torch.ones(N, K), 128, 128),
    "w4a16_linear": lambda: pack_int4(
        torch.zeros(N, K), torch.ones(N, K // 128), torch.zeros(N, K // 128), 128
    ),
}
WEIGHTS["w4a8_linear"] = WEIGHTS["w4a16_linear"]


def splits_of(seen: list[Launch]) -> int:
    """1 where weights are widened and multiplied by cuBLAS."""
    return next((one.arguments["SPLITS"] for one in seen if "SPLITS" in one.arguments), 1)


@pytest.mark.parametrize("op", WEIGHTS)
@pytest.mark.parametrize("rows", [1, 200, 20_000])
def test_parts_do_not_grow_with_the_rows(op: str, rows: int) -> None:
    """Programs that are enough already are split no further. Otherwise a prompt of 8192 tokens
    of Llama-3-8B wrote and read 0.8 GB of parts, which no room was left for, and past 2^31 numbers
    their places overflowed."""
    pytest.importorskip("triton")
    linear = triton_of(op).function(WEIGHTS[op](), None, BF16)
    with launches(*LINEAR, "nibbles_kernel.widen_kernel") as seen:
        linear(torch.zeros(rows, K, dtype=BF16))
    splits = splits_of(seen)
    assert splits == 1 or splits * rows * N < 2 * ENOUGH_PROGRAMS * 128 * 128
    assert rows > 1 or splits == 8


@pytest.mark.parametrize(("rows", "splits"), [(1, 4), (16, 4), (64, 4), (128, 4), (512, 1)])
def test_few_rows_are_split_as_was_measured(rows: int, splits: int) -> None:
    assert splits_of(fp8(rows)) == splits
