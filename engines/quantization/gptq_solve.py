"""GPTQ's solver, as functions of tensors: codes whose error at the output is small, not whose
weights are near.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2023, algorithm 1, with the act order and static groups of its reference code
(github.com/IST-DASLab/gptq). Weights are float32 [out_features, in_features].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .grid import Grid, GridFormat, fit_grid, in_groups

# Columns whose error is spread over the rest of the matrix at once.
BLOCK = 128
# Of the mean diagonal of the Hessian, added to it; ten times as much where that is not enough.
DAMPING = 0.01
_MOST_DAMPING = 100.0


class Hessian:
    """H = 2/n Σ x xᵀ over inputs x of a map, [in_features, in_features]: the second derivative of
    its squared error, the same for every output. `take` gives it away, for it is large."""

    def __init__(self, in_features: int, device: torch.device) -> None:
        self._sum = torch.zeros(in_features, in_features, device=device)
        self._tokens = 0

    def add(self, x: Tensor) -> None:
        """x float32 [..., in_features]."""
        rows = x.flatten(0, -2)
        self._sum.addmm_(rows.T, rows)
        self._tokens += len(rows)

    def take(self) -> Tensor:
        """H, in the memory of the sum, which is held no longer: nothing can be added."""
        value, self._sum = self._sum, torch.empty(0)
        return value.mul_(2 / self._tokens)


@dataclass(frozen=True, eq=False)
class Solution:
    """codes: float32 [out_features, in_features], whole numbers, columns in their own order.
    grid: [out_features, groups]. damping: the share of the mean diagonal that it took."""

    codes: Tensor
    grid: Grid
    damping: float


def solve(weight: Tensor, hessian: Tensor, format: GridFormat, *, act_order: bool) -> Solution:
    """Quantise columns one by one, each making up for the errors of those before it.

    act_order: columns in the order of their diagonal in the Hessian, the largest first. The groups
    are then those of the original order and their grids are fitted before any column is changed
    ("static groups"), so that inputs stay in order. Without it a group's grid is fitted to its
    weights when their turn comes, already changed by all columns before.

    hessian is written over: with it three matrices of its size are held at the most, two where
    the caller does not hold it.
    Raises ValueError for a Hessian that is not finite.
    """
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1.0
    weight = weight.masked_fill(dead, 0.0)
    in_features = weight.shape[1]
    size = format.group_size or in_features
    if act_order or format.group_size is None:
        grid = fit_grid(in_groups(weight, size), format)
    else:
        empty = weight.new_empty(len(weight), -(-in_features // size))
        grid = Grid(empty, empty.clone(), format)
    order = torch.arange(in_features, device=weight.device)
    if act_order:
        order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
        hessian = hessian[order[:, None], order]
    inverse, damping = inverse_factor(hessian)
    refitted = size if not act_order and format.group_size is not None else None
    permuted = _solve_columns(weight[:, order], inverse, grid, order // size, refitted)
    codes = torch.empty_like(permuted)
    codes[:, order] = permuted
    return Solution(codes, grid, damping)


def inverse_factor(hessian: Tensor) -> tuple[Tensor, float]:
    """The upper Cholesky factor U of H⁻¹ = Uᵀ U, H damped, in H's memory; and the damping that it
    took.

    With rows and columns in reverse, H's own lower factor is the upper V of H = V Vᵀ, and U = V⁻¹:
    one factorisation, and no inverse of H. Raises ValueError for what no damping helps.
    """
    if not all(math.isfinite(end) for end in torch.aminmax(hessian)):
        raise ValueError("a Hessian that is not finite")
    mean = hessian.diagonal().mean()
    _reverse(hessian)
    undamped = hessian.diagonal().clone()
    damping = DAMPING
    while damping <= _MOST_DAMPING:
        torch.add(undamped, damping * mean, out=hessian.diagonal())
        lower, failed = torch.linalg.cholesky_ex(hessian)
        if not int(failed):
            # Transposed, since LAPACK's matrices go by columns: it then works in this memory.
            identity = hessian.zero_().fill_diagonal_(1.0).T
            torch.linalg.solve_triangular(lower, identity, upper=False, out=identity)
            _reverse(hessian)
            return identity, damping
        damping *= 10
    raise ValueError("a Hessian that no damping makes positive definite")


def _reverse(matrix: Tensor) -> None:
    """Rows and columns in reverse, in place, some rows at a time."""
    rows = len(matrix)
    for start in range(0, (rows + 1) // 2, BLOCK):
        stop = min(start + BLOCK, (rows + 1) // 2)
        upper, lower = matrix[start:stop], matrix[rows - stop : rows - start]
        kept = upper.flip(0, 1)
        upper.copy_(lower.flip(0, 1))
        lower.copy_(kept)


def _solve_columns(
    weight: Tensor, inverse: Tensor, grid: Grid, group_of: Tensor, refitted: int | None
) -> Tensor:
    """Codes of `weight`'s columns as they stand. group_of int64 [in_features]: a column's group.
    refitted: the size of groups whose grid is fitted, into `grid`, when they begin."""
    # A column's outputs lie together: each is read and written as a whole.
    columns = weight.T.contiguous()
    codes = torch.empty_like(columns)
    groups = group_of.tolist()
    # Where a block begins all errors so far have been spread: so must a group that is fitted there.
    block = refitted or BLOCK
    for start in range(0, len(columns), block):
        stop = min(start + block, len(columns))
        if refitted is not None:
            _fit_group(grid, groups[start], columns[start:stop])
        errors = torch.empty_like(columns[start:stop])
        for column in range(start, stop):
            spread = inverse[start:column, column] @ errors[: column - start]
            wanted = columns[column] - spread
            scale, zero = (part[:, groups[column]] for part in (grid.scales, grid.zeros))
            code = (wanted / scale).round_().add_(zero).clamp_(0, grid.format.largest)
            codes[column] = code
            errors[column - start] = (wanted - (code - zero) * scale) / inverse[column, column]
        columns[stop:].addmm_(inverse[start:stop, stop:].T, errors, alpha=-1)
    return codes.T


def _fit_group(grid: Grid, group: int, columns: Tensor) -> None:
    """The grid of one group from its weights as they are now: columns [size, out_features]."""
    fitted = fit_grid(columns.T, grid.format)
    grid.scales[:, group] = fitted.scales
    grid.zeros[:, group] = fitted.zeros
