"""8-bit weight-only linear in Triton: a byte a weight until it is in registers.

Many rows: arithmetic binds, so the weights are widened into scratch that all layers share and
multiplied by cuBLAS. What computes a call follows from its number of rows alone, so results repeat.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..grouped_int8 import MIDDLE_CODE, GroupedInt8
from ..held import held_bytes
from ..scratch import scratch
from .launch import launch
from .register import implements_triton
from .rows import as_rows
from .splits import add_splits, parts_of
from .target import interpreted
from .tiles import (
    MOST_EIGHT_BIT_ROWS,
    MOST_FLOAT32_BLOCK_K,
    MOST_FLOAT32_ROWS,
    Tiles,
    block_k_for,
    float32_tiles,
    split_count,
)

WIDEN_BLOCK_N, WIDEN_BLOCK_K = 4, 1024


@implements_triton("w8a16_linear")
class TritonW8A16Linear:
    """As the reference, for any group size; many rows multiply weights rounded to `dtype`.

    The codes are the weight's own: nothing is copied.
    """

    def __init__(self, weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._codes = weight.codes.contiguous()
        # One scale a row is multiplied at the end, as it is; those of groups as often as they come.
        scales = weight.scales.T.contiguous()
        self._scales = scales.float() if len(scales) == 1 else scales
        symmetric = bool((weight.zeros == MIDDLE_CODE).all())
        self._zeros = None if symmetric else weight.zeros.T.contiguous()
        self._group_size = weight.group_size
        self._bias = bias if bias is None else bias.to(dtype).contiguous()
        self._most_rows = MOST_FLOAT32_ROWS if dtype == torch.float32 else MOST_EIGHT_BIT_ROWS

    def __call__(self, x: Tensor) -> Tensor:
        rows = as_rows(x)
        if len(rows) > self._most_rows:
            y = F.linear(rows, self._widened(x.dtype), self._bias)
        else:
            y = self._product(rows)
        return y.view(*x.shape[:-1], len(self._codes))

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, zeros unless all are 128, bias."""
        return held_bytes(self._codes, self._scales, self._zeros, self._bias)

    def _product(self, x: Tensor) -> Tensor:
        from .w8a16_kernel import w8a16_kernel

        (m, k), (n, group) = x.shape, (len(self._codes), self._group_size)
        out = torch.empty((m, n), dtype=x.dtype, device=x.device)
        if not m:
            return out
        tiles = tiles_of(m, group, x.dtype)
        per_group = -(-group // tiles.block_k)
        blocks = k // group * per_group
        grid = tiles.grid(m, n)
        splits = split_count(grid[0] * grid[1], blocks)
        parts = parts_of(out, splits, torch.float32)
        tensors = (self._codes, self._scales, self._zeros, self._bias, parts)
        launch(
            *(w8a16_kernel, (*grid, splits), x, x.stride(0), *tensors, m, n),
            K=k,
            GROUP=group,
            PER_GROUP=per_group,
            BLOCKS=blocks,
            BLOCK_M=tiles.block_m,
            BLOCK_N=tiles.block_n,
            BLOCK_K=tiles.block_k,
            SPLITS=splits,
            WIDEN=interpreted() and x.dtype == torch.bfloat16,
            warps=tiles.warps,
            stages=tiles.stages,
        )
        add_splits(parts, out, None, self._scales if group == k else None, self._bias)
        return out

    def _widened(self, dtype: torch.dtype) -> Tensor:
        """W [N, K] in scratch, valid until the next call."""
        from .w8a16_kernel import widen_kernel

        n, k = self._codes.shape
        wide = scratch("8-bit weight", (n, k), dtype, self._codes.device)
        launch(
            *(widen_kernel, (-(-n // WIDEN_BLOCK_N), -(-k // WIDEN_BLOCK_K))),
            *(self._codes, self._scales, self._zeros, wide, n),
            K=k,
            GROUP=self._group_size,
            BLOCK_N=WIDEN_BLOCK_N,
            BLOCK_K=WIDEN_BLOCK_K,
            warps=4,
            stages=None,
        )
        return wide


def tiles_of(m: int, group: int, dtype: torch.dtype) -> Tiles:
    """As `tiles.tiles_for`, but for activations that are wider than the weights: from 17 rows on
    twice the columns read each of them half as often, and blocks of 64 inputs fit in shared memory.
    """
    if dtype == torch.float32:
        return float32_tiles(block_k_for(group, MOST_FLOAT32_BLOCK_K))
    if m <= 16:
        return Tiles(16, 64, block_k_for(group), warps=4, stages=4)
    block_k = block_k_for(group, 64)
    if m <= 64:
        return Tiles(1 << (m - 1).bit_length(), 128, block_k, warps=4, stages=4)
    return Tiles(128, 128, block_k, warps=8, stages=3)
