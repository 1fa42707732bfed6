"""Trying the linear maps with weights in eight-bit and four-bit floats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..fp4 import BLOCK, Fp4Weight, ScaleFormat, quantize_mxfp4, quantize_nvfp4, stack_fp4
from ..fp8 import E4M3, Fp8Weight, quantize_fp8
from .linear import LinearCase, activations, drawn_bias, linear_work, present, projections
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work

# One that some of the activations are beyond.
STATIC_SCALE = 2.0**-9


@dataclass(frozen=True)
class Fp8Case(LinearCase):
    """blocks: rows x columns that share a scale; 0: all. static: activations have one, too."""

    blocks: tuple[int, int] = (1, 0)
    static: bool = False

    @property
    def block_rows(self) -> int:
        return self.blocks[0] or self.out_features

    @property
    def block_columns(self) -> int:
        return self.blocks[1] or self.in_features


@dataclass(frozen=True)
class Fp4Case(LinearCase):
    """form: of the scales; e4m3 are NVFP4's, e8m0 MXFP4's."""

    form: ScaleFormat = "e4m3"


def _make_fp8(case: Fp8Case, draw: Draw) -> Call:
    x = activations(case, draw)
    rows = draw.normal(case.out_features, case.in_features, dtype=torch.float32)
    rows *= draw.uniform(case.out_features, 1)
    weight: Fp8Weight = quantize_fp8(rows, case.block_rows, case.block_columns)
    if case.static:
        weight = replace(weight, input_scale=torch.tensor([STATIC_SCALE], device=draw.device))
    bias = drawn_bias(case, draw)
    kept = present(x=x, bias=bias, codes=weight.codes, scales=weight.scales)
    return Call((x,), (weight, bias, draw.dtype), kept)


def _make_fp4(case: Fp4Case, draw: Draw) -> Call:
    x = activations(case, draw)
    rows = draw.normal(case.out_features, case.in_features, dtype=torch.float32)
    rows *= draw.uniform(case.out_features, 1) * draw.uniform(case.in_features)
    weight = _stacked_nvfp4(rows) if case.form == "e4m3" else quantize_mxfp4(rows)
    bias = drawn_bias(case, draw)
    kept = present(
        x=x,
        bias=bias,
        nibbles=weight.nibbles,
        scales=weight.scales,
        row_scales=weight.row_scales,
    )
    return Call((x,), (weight, bias, draw.dtype), kept)


def _stacked_nvfp4(rows: Tensor) -> Fp4Weight:
    """As two maps of one input are stored as one: each half has a factor of its own."""
    half = len(rows) // 2
    return stack_fp4([quantize_nvfp4(part) for part in (rows[:half], 5 * rows[half:])])


def _fp8_work(case: Fp8Case, dtype: torch.dtype) -> Work:
    """A byte a weight and four a block."""
    rows = -(-case.out_features // case.block_rows)
    columns = -(-case.in_features // case.block_columns)
    return linear_work(case, case.out_features * case.in_features + 4 * rows * columns, dtype)


def _fp4_work(case: Fp4Case, dtype: torch.dtype) -> Work:
    """Half a byte a weight and one a block; NVFP4's factor of the tensor is four more."""
    weights = case.out_features * case.in_features
    factor = 4 if case.form == "e4m3" else 0
    return linear_work(case, weights / 2 + weights / BLOCK[case.form] + factor, dtype)


def _fp8_of_model(model: ModelShape, step: StepShape) -> dict[str, Fp8Case]:
    """With a scale a row, the form that every implementation takes."""
    return {
        name: Fp8Case(case.rows, case.out_features, case.in_features, bias=False)
        for name, case in projections(model, step).items()
    }


def _fp4_of_model(model: ModelShape, step: StepShape) -> dict[str, Fp4Case]:
    """In both formats, where their blocks divide the inputs."""
    return {
        f"{name}, {label}": Fp4Case(
            case.rows, case.out_features, case.in_features, bias=False, form=form
        )
        for name, case in projections(model, step).items()
        for label, form in _FORMS.items()
        if case.in_features % BLOCK[form] == 0
    }


_FORMS: dict[str, ScaleFormat] = {"nvfp4": "e4m3", "mxfp4": "e8m0"}
_FP8 = {
    "a scale a row: one row": Fp8Case(1, 16, 64),
    "a scale a row: no rows": Fp8Case(0, 16, 64),
    "a scale a row: ragged": Fp8Case(3, 70, 300),
    "a scale a row: K of SmolLM2": Fp8Case(9, 48, 576, bias=False),
    "a scale a row: one of each": Fp8Case(1, 1, 1, bias=False),
    "a scale a row: many rows": Fp8Case(130, 32, 96),
    "a scale a row: rows of a prompt": Fp8Case(600, 24, 64),
    "a scale a tensor": Fp8Case(5, 33, 200, blocks=(0, 0)),
    "a scale a tensor: static inputs": Fp8Case(5, 33, 200, blocks=(0, 0), static=True),
    "a scale a row: static inputs": Fp8Case(17, 32, 64, static=True),
    "blocks: whole": Fp8Case(2, 128, 256, blocks=(128, 128)),
    "blocks: ragged": Fp8Case(4, 140, 320, blocks=(128, 128)),
    "blocks: many rows": Fp8Case(70, 20, 192, bias=False, blocks=(64, 128)),
    "x: strided": Fp8Case(6, 80, 64, strided=True),
    "x: strided, blocks": Fp8Case(3, 16, 256, strided=True, blocks=(16, 128)),
    "x: three dimensions": Fp8Case(6, 80, 64, batched=True),
}
_FP4 = {
    "nvfp4: one row": Fp4Case(1, 20, 64),
    "nvfp4: no rows": Fp4Case(0, 16, 64),
    "nvfp4: one block": Fp4Case(2, 24, 16),
    "nvfp4: K of SmolLM2": Fp4Case(3, 33, 576, bias=False),
    "nvfp4: ragged K": Fp4Case(2, 16, 272),
    "nvfp4: 70 rows": Fp4Case(70, 10, 80),
    "nvfp4: many rows": Fp4Case(260, 10, 80),
    "nvfp4: rows of a prompt": Fp4Case(600, 10, 64),
    "nvfp4, x: strided": Fp4Case(6, 48, 64, strided=True),
    "mxfp4: one row": Fp4Case(1, 20, 64, form="e8m0"),
    "mxfp4: one block": Fp4Case(2, 24, 32, form="e8m0"),
    "mxfp4: K of SmolLM2": Fp4Case(3, 33, 576, form="e8m0", bias=False),
    "mxfp4: ragged K": Fp4Case(2, 16, 160, form="e8m0"),
    "mxfp4: many rows": Fp4Case(260, 10, 96, form="e8m0"),
    "mxfp4, x: three dimensions": Fp4Case(6, 48, 64, batched=True, form="e8m0"),
}

FP8_LINEAR = OpSpec(
    op="fp8_linear",
    cases=_FP8,
    tiny=(
        "a scale a row: one row",
        "a scale a row: ragged",
        "a scale a tensor: static inputs",
        "blocks: ragged",
        "x: strided",
    ),
    make=_make_fp8,
    work=_fp8_work,
    reads_memory=True,
    multiplies=E4M3,
    of_model=_fp8_of_model,
)
FP4_LINEAR = OpSpec(
    op="fp4_linear",
    cases=_FP4,
    tiny=(
        "nvfp4: one row",
        "nvfp4: ragged K",
        "nvfp4, x: strided",
        "mxfp4: one row",
        "mxfp4: many rows",
    ),
    make=_make_fp4,
    work=_fp4_work,
    reads_memory=True,
    of_model=_fp4_of_model,
)
