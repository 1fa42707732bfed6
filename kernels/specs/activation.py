"""Trying `silu_mul`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .spec import Call, Draw, OpSpec, Work, nbytes


@dataclass(frozen=True)
class GateCase:
    """gate_up [tokens, 2 · size]."""

    tokens: int
    size: int


def _make(case: GateCase, draw: Draw) -> Call:
    gate_up = draw.beside_poison(3 * draw.normal(case.tokens, 2 * case.size))
    return Call((gate_up,), kept={"gate_up": gate_up})


def _work(case: GateCase, dtype: torch.dtype) -> Work:
    elements = case.tokens * case.size
    return Work(nbytes(dtype, 3 * elements), 0)


SILU_MUL = OpSpec(
    op="silu_mul",
    cases={
        "rows: one": GateCase(1, 1536),
        "rows: none": GateCase(0, 8),
        "rows: many": GateCase(40, 1536),
        "size: odd": GateCase(7, 33),
        "size: one": GateCase(3, 1),
        "size: wide": GateCase(2, 14336),
    },
    tiny=("rows: one", "rows: none", "size: odd", "size: one"),
    make=_make,
    work=_work,
    of_model=lambda model, step: {"gate": GateCase(step.tokens, model.intermediate)},
)
