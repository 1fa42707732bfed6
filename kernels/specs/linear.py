"""Trying the linear maps: dense, 8-bit and 4-bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..grouped_int8 import MIDDLE_CODE, GroupedInt8
from ..int4 import pack_int4
from ..rates import NIBBLES
from ..w8a8 import W8A8Weight, quantize_rows
from .closeness import HALF_A_STEP, Difference, near, within
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

# A projection of a model that is larger is not made for a check, only for a timing.
LM_HEAD = "lm_head"
# The share of int8 weights that are the least that there is.
LEAST_CODES = 1 / 16


@dataclass(frozen=True)
class LinearCase:
    """x [rows, in_features], weight [out_features, in_features]. group_size, symmetric: of weights
    in groups. strided: x is a slice of something wider. batched: x has three dimensions."""

    rows: int
    out_features: int
    in_features: int
    group_size: int = 32
    bias: bool = True
    strided: bool = False
    batched: bool = False
    symmetric: bool = False


def activations(case: LinearCase, draw: Draw) -> Tensor:
    """Columns differ in size, as those of activations do."""
    x = draw.normal(case.rows, case.in_features, dtype=torch.float32)
    x = (x * draw.uniform(case.in_features)).to(draw.dtype)
    if case.strided:
        wide = draw.poison(case.rows, 2 * case.in_features)
        wide[:, case.in_features :] = x
        return wide[:, case.in_features :]
    x = draw.beside_poison(x)
    return x[None] if case.batched else x


def drawn_bias(case: LinearCase, draw: Draw) -> Tensor | None:
    return draw.beside_poison(draw.normal(case.out_features)) if case.bias else None


def _make_dense(case: LinearCase, draw: Draw) -> Call:
    x = activations(case, draw)
    weight = draw.beside_poison(draw.normal(case.out_features, case.in_features))
    bias = drawn_bias(case, draw)
    kept = present(x=x, weight=weight, bias=bias)
    return Call((x,), (weight, bias, draw.dtype), kept)


def _make_int8(case: LinearCase, draw: Draw) -> Call:
    x = activations(case, draw)
    rows = draw.normal(case.out_features, case.in_features, dtype=torch.float32)
    codes, scales = quantize_rows(rows * draw.uniform(case.out_features, 1))
    # Ours are within ±127; a checkpoint's need not be.
    codes[draw.uniform(*codes.shape) < LEAST_CODES] = -128
    weight = W8A8Weight(codes, scales)
    bias = drawn_bias(case, draw)
    kept = present(x=x, bias=bias, **vars(weight))
    return Call((x,), (weight, bias, draw.dtype), kept)


def _make_int4(case: LinearCase, draw: Draw) -> Call:
    x = activations(case, draw)
    n, groups = case.out_features, case.in_features // case.group_size
    packed = pack_int4(
        draw.integers(0, 16, n, case.in_features),
        (0.01 + draw.uniform(n, groups)).half(),
        draw.integers(0, 16, n, groups),
        case.group_size,
    )
    bias = drawn_bias(case, draw)
    kept = present(x=x, bias=bias, nibbles=packed.nibbles, scales=packed.scales, zeros=packed.zeros)
    return Call((x,), (packed, bias, draw.dtype), kept)


def _make_grouped_int8(case: LinearCase, draw: Draw) -> Call:
    x = activations(case, draw)
    n, groups = case.out_features, case.in_features // case.group_size
    zeros = draw.integers(0, 256, n, groups).to(torch.uint8)
    weight = GroupedInt8(
        draw.integers(0, 256, n, case.in_features).to(torch.uint8),
        (0.01 + draw.uniform(n, groups)).half(),
        torch.full_like(zeros, MIDDLE_CODE) if case.symmetric else zeros,
        case.group_size,
    )
    bias = drawn_bias(case, draw)
    kept = present(x=x, bias=bias, codes=weight.codes, scales=weight.scales, zeros=weight.zeros)
    return Call((x,), (weight, bias, draw.dtype), kept)


def present(**tensors: Tensor | None) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _compare_dense(call: Call, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    """One rounding to the dtype, and K of float32's on sums of |x·w| (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, eq. 3.5, for any order of summation). On a GPU, where
    libraries may add halves up in the narrow dtype, as near as its other results."""
    if expected.is_cuda:
        return near(actual, expected)
    x = call.kept["x"].double()
    weight, bias = call.kept["weight"].double(), call.kept.get("bias")
    exact = F.linear(x, weight, None if bias is None else bias.double())
    sizes = F.linear(x.abs(), weight.abs(), None if bias is None else bias.double().abs())
    # AMX and AVX-512 flush bfloat16's subnormals, 1e-38.
    bound = (x.shape[-1] + 2) * 2.0**-24 * sizes + 1e-37
    bound += HALF_A_STEP[expected.dtype] * (exact.abs() + bound)
    if actual.dtype != expected.dtype:
        return near(actual, expected)
    return within(actual, exact, bound)


def _compare_int8(_call: Call, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    """One rounding to the dtype and a few of float32. The sum of integers has no error, but a code
    that lies on a tie may go either way where a scale differs in its last bit."""
    if actual.dtype != expected.dtype:
        return near(actual, expected)
    exact = expected.double()
    tie = exact.abs().amax(-1, keepdim=True) * 2.0**-12
    return within(actual, exact, 2 * HALF_A_STEP[expected.dtype] * exact.abs() + tie)


def linear_work(case: LinearCase, weight_bytes: float, dtype: torch.dtype) -> Work:
    rows, n, k = case.rows, case.out_features, case.in_features
    bias = n if case.bias else 0
    moved = nbytes(dtype, rows * k, rows * n, bias) + int(weight_bytes)
    return Work(moved, 2 * rows * n * k)


def _dense_work(case: LinearCase, dtype: torch.dtype) -> Work:
    return linear_work(case, case.out_features * case.in_features * dtype.itemsize, dtype)


def _int8_work(case: LinearCase, dtype: torch.dtype) -> Work:
    """A byte a weight and four a row."""
    return linear_work(case, case.out_features * (case.in_features + 4), dtype)


def _int4_work(case: LinearCase, dtype: torch.dtype) -> Work:
    """Half a byte a weight, and a scale of two bytes and a zero point of one a group."""
    groups = case.out_features * case.in_features // case.group_size
    return linear_work(case, case.out_features * case.in_features / 2 + 3 * groups, dtype)


def _grouped_int8_work(case: LinearCase, dtype: torch.dtype) -> Work:
    """A byte a weight, and a scale of two bytes and a zero point of one a group."""
    groups = case.out_features * case.in_features // case.group_size
    return linear_work(case, case.out_features * case.in_features + 3 * groups, dtype)


def _a_scale_a_row(model: ModelShape, step: StepShape) -> dict[str, LinearCase]:
    """Weight-only INT8's own form."""
    return {
        name: replace(case, group_size=case.in_features, symmetric=True)
        for name, case in projections(model, step).items()
    }


def projections(model: ModelShape, step: StepShape) -> dict[str, LinearCase]:
    q, kv = model.heads * model.head_dim, 2 * model.kv_heads * model.head_dim
    sizes = {
        "qkv": (q + kv, model.hidden),
        "o": (model.hidden, q),
        "gate_up": (2 * model.intermediate, model.hidden),
        "down": (model.hidden, model.intermediate),
    }
    return {
        name: LinearCase(step.tokens, n, k, model.group_size, bias=False)
        for name, (n, k) in sizes.items()
    }


def _dense_of_model(model: ModelShape, step: StepShape) -> dict[str, LinearCase]:
    # Logits are wanted of a sequence's last token only.
    rows = 1 if step.prompt else step.batch
    head = LinearCase(rows, model.vocab, model.hidden, bias=False)
    return {**projections(model, step), LM_HEAD: head}


_DENSE = {
    "rows: one": LinearCase(1, 64, 576),
    "rows: none": LinearCase(0, 80, 64),
    **{
        f"rows: {rows}": LinearCase(rows, 80, 100, bias=rows % 2 == 0)
        for rows in (2, 3, 5, 8, 11, 16, 17, 32, 33, 40, 65)
    },
    "rows: of a prompt": LinearCase(600, 48, 64),
    **{
        f"columns: {n}": LinearCase(4, n, 64, bias=n % 2 == 1) for n in (1, 3, 5, 16, 49, 336, 1000)
    },
    **{f"inputs: {k}": LinearCase(9, 48, k) for k in (1, 31, 32, 64, 1536)},
    "shape: ragged": LinearCase(7, 1000, 31),
    "shape: one of each": LinearCase(1, 1, 1),
    "no bias: one row": LinearCase(1, 1000, 100, bias=False),
    "x: strided": LinearCase(6, 80, 64, strided=True),
    "x: three dimensions": LinearCase(6, 80, 64, batched=True),
}
_W8A8 = {
    "rows: one": LinearCase(1, 16, 32),
    "rows: none": LinearCase(0, 64, 64),
    **{f"rows: {rows}": LinearCase(rows, 64, 576) for rows in (2, 3, 5, 8, 17, 33)},
    "rows: of a prompt": LinearCase(600, 48, 64),
    "shape: ragged": LinearCase(3, 17, 100),
    "shape: one of each": LinearCase(1, 1, 1),
    "inputs: 1": LinearCase(5, 32, 1),
    "shape: down of SmolLM2": LinearCase(17, 130, 1536),
    "no bias: two rows": LinearCase(2, 48, 64, bias=False),
    "x: strided": LinearCase(6, 80, 64, strided=True),
    "x: three dimensions": LinearCase(6, 80, 64, batched=True),
}
_INT4 = {
    "rows: one": LinearCase(1, 16, 32),
    "rows: none": LinearCase(0, 16, 64),
    "rows: 5, groups of 64": LinearCase(5, 48, 576, 64),
    "rows: 8, groups of 256": LinearCase(8, 192, 1536, 256),
    "rows: 24": LinearCase(24, 16, 96),
    "rows: 33, groups of 128": LinearCase(33, 80, 256, 128),
    "rows: 65, groups of 128": LinearCase(65, 16, 256, 128),
    "rows: 260, groups of 48": LinearCase(260, 24, 96, 48),
    "rows: of a prompt": LinearCase(600, 24, 64),
    "columns: 70": LinearCase(3, 70, 128, 64),
    "columns: 5, groups of 256": LinearCase(2, 5, 512, 256),
    "no bias: K of SmolLM2": LinearCase(2, 16, 576, 64, bias=False),
    "x: strided": LinearCase(3, 32, 64, strided=True),
    "x: three dimensions": LinearCase(6, 48, 64, batched=True),
}

_W8A16 = {
    "a scale a row: one row": LinearCase(1, 48, 64, 64, symmetric=True),
    "a scale a row: no rows": LinearCase(0, 16, 64, 64, symmetric=True),
    "a scale a row: 9 rows": LinearCase(9, 70, 576, 576, symmetric=True),
    "a scale a row: 40 rows": LinearCase(40, 33, 100, 100, bias=False, symmetric=True),
    "a scale a row: one of each": LinearCase(1, 1, 1, 1, bias=False, symmetric=True),
    "a scale a row: zero points": LinearCase(5, 48, 96, 96),
    "groups: 32": LinearCase(3, 70, 96),
    "groups: 64 of K of SmolLM2": LinearCase(2, 16, 576, 64, bias=False),
    "groups: 128, symmetric": LinearCase(17, 80, 256, 128, symmetric=True),
    "groups: 10": LinearCase(8, 24, 50, 10),
    "groups: many rows": LinearCase(65, 16, 256, 128),
    "groups: 260 rows": LinearCase(260, 24, 96, 48),
    "groups: rows of a prompt": LinearCase(600, 24, 64),
    "x: strided": LinearCase(3, 32, 64, 64, strided=True, symmetric=True),
    "x: three dimensions": LinearCase(6, 48, 64, batched=True),
}

LINEAR = OpSpec(
    op="linear",
    cases=_DENSE,
    tiny=("rows: one", "rows: 3", "rows: 17", "columns: 49", "inputs: 31", "x: strided"),
    make=_make_dense,
    work=_dense_work,
    reads_memory=True,
    of_model=_dense_of_model,
    compare=_compare_dense,
)
W8A8_LINEAR = OpSpec(
    op="w8a8_linear",
    cases=_W8A8,
    tiny=("rows: one", "rows: 3", "rows: 17", "shape: ragged", "x: strided"),
    make=_make_int8,
    work=_int8_work,
    reads_memory=True,
    of_model=projections,
    compare=_compare_int8,
    multiplies=torch.int8,
)
W4A16_LINEAR = OpSpec(
    op="w4a16_linear",
    cases=_INT4,
    tiny=(
        "rows: one",
        "columns: 70",
        "columns: 5, groups of 256",
        "rows: 65, groups of 128",
        "rows: 260, groups of 48",
        "no bias: K of SmolLM2",
        "x: strided",
    ),
    make=_make_int4,
    work=_int4_work,
    reads_memory=True,
    of_model=projections,
)
W4A8_LINEAR = OpSpec(
    op="w4a8_linear",
    cases=_INT4,
    tiny=W4A16_LINEAR.tiny,
    make=_make_int4,
    work=_int4_work,
    reads_memory=True,
    of_model=projections,
    compare=_compare_int8,
    multiplies=NIBBLES,
)
W8A16_LINEAR = OpSpec(
    op="w8a16_linear",
    cases=_W8A16,
    tiny=(
        "a scale a row: one row",
        "a scale a row: zero points",
        "groups: 32",
        "groups: 10",
        "groups: many rows",
        "groups: 260 rows",
        "x: strided",
    ),
    make=_make_grouped_int8,
    work=_grouped_int8_work,
    reads_memory=True,
    of_model=_a_scale_a_row,
)
