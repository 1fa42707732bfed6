"""Odd shapes for the W8A16 linear; run as a module, it checks Triton's kernels on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from llmbench.engines.quantization.int8 import round_to_int8
from llmbench.engines.quantization.quantized import PackedSource, QuantizedMap, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.dispatch import calls, calls_since
from llmbench.kernels.grouped_int8 import MIDDLE_CODE, GroupedInt8, dequantize_grouped
from llmbench.kernels.reference.w8a16 import ReferenceW8A16Linear
from torch import Tensor

from .closeness import assert_near
from .triton_checks import report


@dataclass(frozen=True)
class Case:
    """group_size 0: all inputs. symmetric: no zero point but 128."""

    m: int
    n: int
    k: int
    dtype: str
    group_size: int = 0
    symmetric: bool = True


# What `test_every_implementation` has none of: splits of K that end beyond it, tiles of 128 rows.
CASES = {
    "one row, K of SmolLM2": Case(1, 70, 576, "bfloat16"),
    "one row, ragged K": Case(1, 33, 300, "float32"),
    "32 rows, ragged N": Case(30, 130, 200, "float16"),
    "more rows than a tile": Case(130, 20, 96, "bfloat16"),
    "zero points, split K": Case(2, 8, 700, "float16", symmetric=False),
    "groups of 48, split": Case(3, 20, 432, "bfloat16", 48, symmetric=False),
    "groups of 192, two blocks each": Case(4, 9, 384, "float32", 192, symmetric=False),
    "groups of 10, many rows": Case(70, 12, 50, "float16", 10, symmetric=False),
    "groups of 48, so many rows that they are widened": Case(259, 9, 96, "bfloat16", 48, False),
}
CODES = ("float32", "float16", "bfloat16")
FUSED = "q, k and v of an engine"


def random_case(case: Case) -> tuple[Tensor, GroupedInt8, Tensor]:
    """x, weights and bias. The columns of x differ in size, as activations do."""
    dtype = getattr(torch, case.dtype)
    group_size = case.group_size or case.k
    groups = case.k // group_size
    zeros = torch.randint(0, 256, (case.n, groups)).byte()
    weight = GroupedInt8(
        torch.randint(0, 256, (case.n, case.k)).byte(),
        (0.01 + torch.rand(case.n, groups)).half(),
        torch.full_like(zeros, MIDDLE_CODE) if case.symmetric else zeros,
        group_size,
    )
    x = torch.randn(case.m, case.k) * torch.rand(case.k)
    return x.to(dtype), weight, torch.randn(case.n).to(dtype)


def _check_triton(case: Case) -> None:
    from llmbench.kernels.triton.w8a16 import TritonW8A16Linear

    x, weight, bias = random_case(case)
    # Rows that are not next to each other, as a slice of a fused projection's are.
    x = torch.cat((x, x), dim=1)[:, : case.k]
    for added in (None, bias):
        expected = ReferenceW8A16Linear(weight, added, x.dtype)(x)
        assert_near(TritonW8A16Linear(weight, added, x.dtype)(x), expected)


def _check_every_code(dtype: str) -> None:
    """Every code under five zero points, in units that every dtype holds; few rows, and many."""
    from llmbench.kernels.triton.w8a16 import TritonW8A16Linear

    codes = torch.arange(256)
    for zeros in ([0, 1, 127, 200, 255], [MIDDLE_CODE] * 5):
        weight = GroupedInt8(
            codes[:, None].expand(256, 160).byte(),
            torch.ones(256, 5),
            torch.tensor(zeros).expand(256, 5).byte(),
            32,
        )
        x = torch.zeros(5, 160)
        x[torch.arange(5), 32 * torch.arange(5) + torch.tensor([0, 7, 15, 16, 31])] = 1
        expected = (codes - torch.tensor(zeros)[:, None]).float()
        linear = TritonW8A16Linear(weight, None, getattr(torch, dtype))
        x = x.to(getattr(torch, dtype))
        assert torch.equal(linear(x).float(), expected)
        assert torch.equal(linear(x.repeat(60, 1)).float(), expected.repeat(60, 1))


def _check_fused_maps() -> None:
    """q, k and v of `--quant int8` are one product, whose results stand side by side."""
    scheme = Scheme("int8", 8)
    sizes = {"q": 48, "k": 16, "v": 16}
    names = [f"model.layers.0.self_attn.{part}_proj" for part in sizes]
    parts = [round_to_int8(torch.randn(n, 96), scheme) for n in sizes.values()]
    maps = {name: QuantizedMap(part) for name, part in zip(names, parts, strict=True)}
    model = QuantizedModel(scheme, {}, maps)
    force = {"w8a16_linear": "triton"}
    source = PackedSource(model, torch.float32, torch.device("cpu"), force)
    x, before = torch.randn(3, 96), calls()
    y = source.linear(names)(x)
    assert calls_since(before) == {"w8a16_linear": {"triton": 1}}
    expected = [x.double() @ dequantize_grouped(part).double().T for part in parts]
    assert_near(y, torch.cat(expected, dim=1).float())


if __name__ == "__main__":
    checks = {name: partial(_check_triton, case) for name, case in CASES.items()}
    checks |= {f"every code, {dtype}": partial(_check_every_code, dtype) for dtype in CODES}
    report(checks | {FUSED: _check_fused_maps})
