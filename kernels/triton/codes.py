"""x · Wᵀ of eight-bit codes with their scales: what W8A8 and FP8 have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .launch import launch
from .splits import add_splits, parts_of
from .target import on_amd
from .tiles import code_tiles, split_count

BLOCK_K = 128
NARROW = 64  # columns
Kind = Literal["int8", "e4m3", "float16"]


@dataclass(frozen=True)
class CodeBlocks:
    """W[n, k] = codes · scales[n // rows, k // columns]; columns 0: all, scales [N].

    kind: what the product multiplies; "float16" widens e4m3 in registers.
    """

    codes: Tensor
    scales: Tensor
    rows: int
    columns: int
    kind: Kind


def multiply_codes(
    x_codes: Tensor, x_scales: Tensor, w: CodeBlocks, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """x_codes [M, K], x_scales float32 [M] or [M, groups] -> [M, N] of `dtype`.

    Deterministic: how K is split follows from the shape, parts are added in order.
    """
    from .codes_kernel import codes_kernel

    (m, k), n = x_codes.shape, w.codes.shape[0]
    out = torch.empty((m, n), dtype=dtype, device=x_codes.device)
    if m == 0:
        return out
    # AMD's 64 KB of shared memory hold two blocks of weights and rows.
    tiles = code_tiles(m, BLOCK_K, stages=3 if on_amd() else 4)
    grid = tiles.grid(m, n)
    # As narrow tiles of one row want it, measured up to 128 rows: from there on, where programs are
    # more than that, parts would only cost, and take memory that grows with the rows.
    splits = split_count(max(-(-n // NARROW), grid[0] * grid[1]), -(-k // tiles.block_k))
    parts = parts_of(out, splits, torch.int32 if w.kind == "int8" else torch.float32)
    launch(
        *(codes_kernel, (*grid, splits)),
        *(x_codes, x_scales, w.codes, w.scales, bias, parts, m, n),
        K=k,
        ROWS=w.rows,
        COLUMNS=w.columns,
        GROUPS=-(-k // w.columns) if w.columns else 1,
        KIND=w.kind,
        BLOCK_M=tiles.block_m,
        BLOCK_N=tiles.block_n,
        BLOCK_K=tiles.block_k,
        SPLITS=splits,
        warps=tiles.warps,
        stages=tiles.stages,
    )
    scales = (None, None) if w.columns else (x_scales, w.scales)
    add_splits(parts, out, *scales, bias)
    return out
