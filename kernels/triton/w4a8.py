"""4-bit linear with 8-bit activations in Triton: one kernel makes codes, one multiplies them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..held import held_bytes
from ..int4 import PackedInt4, unpack_int4
from .launch import launch
from .nibbles import grids
from .register import implements_triton
from .rows import as_rows
from .splits import add_splits, parts_of
from .target import interpreted, on_amd
from .tiles import block_k_for, four_by_eight_tiles, split_count
from .token_codes import token_codes

# A dot of bytes takes at least 32 of them.
LEAST_HALF = 32


def interleave_groups(codes: Tensor, group: int, half: int) -> Tensor:
    """Codes uint8 0-15 [N, K] -> bytes [N, blocks · half]: each group filled up with zeros to whole
    halves, and of each two halves the first below the other."""
    groups = codes.unflatten(1, (-1, group))
    halves = F.pad(groups, (0, -group % half)).flatten(1).unflatten(1, (-1, half))
    even = F.pad(halves, (0, 0, 0, halves.shape[1] % 2))
    both = even[:, 0::2] | (even[:, 1::2] << 4)
    return both.flatten(1).contiguous()


@implements_triton("w4a8_linear")
class TritonW4A8Linear:
    """As the reference, for any group size."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._group = packed.group_size
        self._half = max(LEAST_HALF, block_k_for(packed.group_size) // 2)
        self._weight = interleave_groups(unpack_int4(packed), self._group, self._half)
        self._grids = grids(packed.scales, packed.zeros)
        self._bias = bias if bias is None else bias.contiguous()
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        rows = as_rows(x)
        out = torch.empty((len(rows), self._grids.shape[1]), dtype=self._dtype, device=rows.device)
        if len(rows):
            self._multiply(*token_codes(rows, torch.int8, self._group), out)
        return out.view(*x.shape[:-1], out.shape[1])

    def _multiply(self, codes: Tensor, x_scales: Tensor, out: Tensor) -> None:
        from .w4a8_kernel import w4a8_kernel

        m, n = out.shape
        tiles = four_by_eight_tiles(m, 2 * self._half)
        grid = tiles.grid(m, n)
        blocks = self._weight.shape[1] // self._half
        splits = split_count(grid[0] * grid[1], blocks, tiles.enough, tiles.most_splits)
        parts = parts_of(out, splits, torch.float32)
        launch(
            *(w4a8_kernel, (*grid, splits)),
            *(codes, x_scales, self._weight, self._grids, self._bias, parts, m, n),
            GROUPS=len(self._grids),
            GROUP=self._group,
            HALVES=-(-self._group // self._half),
            HALF=self._half,
            BLOCKS=blocks,
            BLOCK_M=tiles.block_m,
            BLOCK_N=tiles.block_n,
            SPLITS=splits,
            ASSEMBLY=not (interpreted() or on_amd()),
            warps=tiles.warps,
            stages=tiles.stages,
        )
        add_splits(parts, out, None, None, self._bias)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales with zero points, bias."""
        return held_bytes(self._weight, self._grids, self._bias)
