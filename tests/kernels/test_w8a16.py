from __future__ import annotations

from importlib import import_module

import pytest
import torch
from llmbench.kernels.grouped_int8 import (
    GroupedInt8,
    KernelError,
    dequantize_grouped,
    stack_grouped,
)
from llmbench.kernels.reference.w8a16 import ReferenceW8A16Linear
from llmbench.kernels.registry import select

from .triton_checks import failures
from .triton_launches import TARGETS, launches
from .w8a16_cases import CASES, CODES, FUSED, Case, random_case

KERNELS = (
    "w8a16_kernel.w8a16_kernel",
    "splits_kernel.add_splits_kernel",
    "w8a16_kernel.widen_kernel",
)


def test_the_reference_by_hand() -> None:
    """Groups of two: (3 - 1) · 0.5 = 1, (0 - 1) · 0.5 = -0.5; (255 - 128) · 2 = 254, 0."""
    weight = GroupedInt8(
        codes=torch.tensor([[3, 0, 255, 128]], dtype=torch.uint8),
        scales=torch.tensor([[0.5, 2.0]]),
        zeros=torch.tensor([[1, 128]], dtype=torch.uint8),
        group_size=2,
    )
    assert dequantize_grouped(weight).tolist() == [[1.0, -0.5, 254.0, 0.0]]
    linear = ReferenceW8A16Linear(weight, torch.tensor([10.0]), torch.float32)
    # 3·1 + 2·-0.5 + 0.5·254 + 10
    assert linear(torch.tensor([[3.0, 2.0, 0.5, 7.0]])).tolist() == [[139.0]]
    assert linear.weight_bytes == 4 + 8 + 2 + 4


def test_stacking_is_along_out_features() -> None:
    parts = [random_case(Case(1, rows, 64, "float32", 32, False))[1] for rows in (3, 5)]
    expected = torch.cat([dequantize_grouped(part) for part in parts])
    assert torch.equal(dequantize_grouped(stack_grouped(parts)), expected)
    other = random_case(Case(1, 3, 64, "float32"))[1]
    with pytest.raises(KernelError, match="shared to stack"):
        stack_grouped([parts[0], other])


def test_a_gpu_gets_triton() -> None:
    pytest.importorskip("triton")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        found = select("w8a16_linear", torch.device("cuda"), dtype)
        assert [one.name for one in found.reachable] == ["triton"]


@pytest.fixture(scope="module")
def triton_errors() -> dict[str, str]:
    return failures("w8a16_cases")


@pytest.mark.parametrize("case", [*CASES, *(f"every code, {dtype}" for dtype in CODES), FUSED])
def test_triton(case: str, triton_errors: dict[str, str]) -> None:
    assert triton_errors[case] == ""


def test_triton_reads_the_weights_own_codes() -> None:
    """Nothing is stored twice; a scale a row is float32, and a zero point of 128 is not kept."""
    from llmbench.kernels.triton.w8a16 import TritonW8A16Linear

    _, weight, _ = random_case(Case(1, 48, 576, "bfloat16"))
    linear = TritonW8A16Linear(weight, None, torch.bfloat16)
    assert linear.weight_bytes == 48 * (576 + 4)
    assert linear._codes.data_ptr() == weight.codes.data_ptr()
    _, weight, bias = random_case(Case(1, 48, 576, "bfloat16", 64, symmetric=False))
    linear = TritonW8A16Linear(weight, bias, torch.bfloat16)
    assert linear.weight_bytes == 48 * (576 + 9 * (2 + 1) + 2)


@pytest.mark.parametrize(
    "kernel",
    [
        "codes_kernel.codes_kernel",
        "nibbles_kernel.nibbles_kernel",
        "splits_kernel.add_splits_kernel",
        "w8a16_kernel.w8a16_kernel",
    ],
)
def test_a_new_number_of_rows_compiles_nothing_anew(kernel: str) -> None:
    """1, 5 and 16 rows would be three kernels, of which serving would wait for two."""
    pytest.importorskip("triton")
    module, name = kernel.split(".")
    found = getattr(import_module(f"llmbench.kernels.triton.{module}"), name)
    rows = next(parameter for parameter in found.params if parameter.name == "M")
    assert rows.do_not_specialize


# Rows that each tile is for, by the group size; 0: a scale a row. 257 rows are widened.
COMPILED = {
    "bfloat16": {0: (33,), 128: (1, 129, 257)},
    "float16": {0: (1,)},
    "float32": {0: (1,)},
}


@pytest.mark.parametrize("dtype", COMPILED)
@pytest.mark.parametrize("target", TARGETS)
def test_triton_compiles(target: str, dtype: str) -> None:
    """Loops are long enough to be pipelined, so that their stages' memory counts."""
    from llmbench.kernels.triton.w8a16 import TritonW8A16Linear

    with launches(*KERNELS) as seen:
        for group_size, lengths in COMPILED[dtype].items():
            x, weight, bias = random_case(Case(1, 256, 4096, dtype, group_size, not group_size))
            linear = TritonW8A16Linear(weight, bias, x.dtype)
            for rows in lengths:
                linear(x.repeat(rows, 1))
    names = [launch.kernel.__name__ for launch in seen]
    assert names.count("w8a16_kernel") + names.count("widen_kernel") == sum(
        len(lengths) for lengths in COMPILED[dtype].values()
    )
    for launch in seen:
        assert launch.compile(target)
