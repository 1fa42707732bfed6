"""Trying `silu_mul`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .closeness import compare_near_each
from .spec import Call, Draw, OpSpec, Work, nbytes


@dataclass(frozen=True)
class GateCase:
    """gate_up [tokens, 2 · size]. gates: their size, of either sign; None: drawn as the rest."""

    tokens: int
    size: int
    gates: float | None = None


def _make(case: GateCase, draw: Draw) -> Call:
    gate_up = draw.beside_poison(3 * draw.normal(case.tokens, 2 * case.size))
    if case.gates is not None:
        gates = gate_up[:, : case.size]
        gates.copy_(case.gates * gates.sign() + gates)
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
        "rows: of a prompt": GateCase(700, 48),
        "rows: 70": GateCase(70, 8),
        "size: odd": GateCase(7, 33),
        # All but one of 8, 16 and 32.
        "size: a long tail": GateCase(3, 95),
        "size: one": GateCase(3, 1),
        "size: wide": GateCase(2, 14336),
        # Of either sign, for float32 has no exponential of 100.
        "gates: large": GateCase(5, 66, gates=100.0),
    },
    tiny=(
        "rows: one",
        "rows: none",
        "rows: 70",
        "size: odd",
        "size: a long tail",
        "size: one",
        "gates: large",
    ),
    make=_make,
    compare=compare_near_each,
    work=_work,
    of_model=lambda model, step: {"gate": GateCase(step.tokens, model.intermediate)},
)
