"""Trying `rms_norm` and `add_rms_norm`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .closeness import Difference, compare_near_each, exactly, near_each
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

EPS = 1e-5
# Of numbers so small that it decides: their mean square is 1e-6.
SMALL, SMALL_EPS = 1e-3, 3e-6


@dataclass(frozen=True)
class NormCase:
    """x [..., size], of a deviation. strided: a slice of something wider, as the heads of a fused
    projection."""

    shape: tuple[int, ...]
    strided: bool = False
    deviation: float = 3.0
    eps: float = EPS


def _make_norm(case: NormCase, draw: Draw) -> Call:
    if case.strided:
        tokens, heads, size = case.shape
        x = case.deviation * draw.normal(tokens, heads + 2, size)[:, :heads]
    else:
        x = draw.beside_poison(case.deviation * draw.normal(*case.shape))
    weight = draw.beside_poison(draw.normal(case.shape[-1]))
    return Call((x, weight, case.eps), kept={"x": x, "weight": weight})


def _make_add_norm(case: NormCase, draw: Draw) -> Call:
    x, residual = (draw.beside_poison(case.deviation * draw.normal(*case.shape)) for _ in range(2))
    weight = draw.beside_poison(draw.normal(case.shape[-1]))
    # x and residual may be overwritten.
    return Call((x, residual, weight, case.eps), kept={"weight": weight})


def _compare_add_norm(_call: Call, name: str, actual: Tensor, expected: Tensor) -> Difference:
    """The sum is rounded once, and so leaves no choice."""
    return exactly(actual, expected) if name == "result 1" else near_each(actual, expected)


def _norm_work(case: NormCase, dtype: torch.dtype) -> Work:
    elements = prod(case.shape)
    return Work(nbytes(dtype, 2 * elements, case.shape[-1]), 0)


def _add_norm_work(case: NormCase, dtype: torch.dtype) -> Work:
    elements = prod(case.shape)
    return Work(nbytes(dtype, 4 * elements, case.shape[-1]), 0)


def _of_model(model: ModelShape, step: StepShape) -> dict[str, NormCase]:
    return {"hidden": NormCase((step.tokens, model.hidden))}


_FLAT = {
    "rows: one": NormCase((1, 576)),
    "rows: none": NormCase((0, 16)),
    "rows: many": NormCase((130, 576)),
    "rows: of a prompt": NormCase((700, 64)),
    "rows: 70": NormCase((70, 8)),
    "size: odd": NormCase((7, 33)),
    # All but one of 8, 16 and 32.
    "size: a long tail": NormCase((3, 95)),
    "size: one": NormCase((3, 1)),
    "size: wide": NormCase((2, 4096)),
    "numbers: small": NormCase((5, 64), deviation=SMALL, eps=SMALL_EPS),
}
_TINY = (
    "rows: one",
    "rows: none",
    "rows: 70",
    "size: odd",
    "size: a long tail",
    "size: one",
    "numbers: small",
)
_HEADS = {
    f"heads: of {size}": NormCase((5, 3, size), strided=size != 96) for size in (64, 80, 96, 128)
}

RMS_NORM = OpSpec(
    op="rms_norm",
    cases=_FLAT | _HEADS,
    tiny=(*_TINY, "heads: of 80", "heads: of 96"),
    make=_make_norm,
    work=_norm_work,
    of_model=_of_model,
    compare=compare_near_each,
)
ADD_RMS_NORM = OpSpec(
    op="add_rms_norm",
    cases=_FLAT,
    tiny=_TINY,
    make=_make_add_norm,
    work=_add_norm_work,
    of_model=_of_model,
    compare=_compare_add_norm,
)
