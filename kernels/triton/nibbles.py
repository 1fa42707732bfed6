"""x · Wᵀ with 4-bit weights: what W4A16 and FP4 have in common on a GPU.

Few rows: one kernel, weights packed until they are in registers. Many: arithmetic binds, so they
are widened into scratch that all layers share and multiplied by cuBLAS. Which of them follows from
the number of rows alone, so results repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..held import held_bytes
from ..scratch import scratch
from .launch import launch
from .rows import as_rows
from .splits import add_splits, parts_of
from .target import interpreted, on_amd
from .tiles import (
    LARGEST_BLOCK_K,
    MOST_FLOAT32_BLOCK_K,
    MOST_FLOAT32_ROWS,
    MOST_FOUR_BIT_ROWS,
    Tiles,
    float32_tiles,
    four_bit_tiles,
    integer_tiles,
    split_count,
)

# Outputs whose weights lie together, block by block, so that what a program reads of a block is
# one run of bytes.
TILE_N = 128
# Inputs of the shortest product of 16-bit numbers.
LEAST_DOT_K = 16


@dataclass(frozen=True)
class Nibbles:
    """4-bit weights as the kernels read them; their arguments say what each tensor holds.

    out_features: without those that fill up the last tile.
    group: inputs that share an integer grid, in blocks of block_k; e2m1: all inputs.
    scales: of integers with their zero points, as `grids` makes them.
    share: weights that share an e2m1 scale; 0: integers.
    """

    weight: Tensor
    scales: Tensor
    row_scales: Tensor | None
    out_features: int
    in_features: int
    group: int
    block_k: int
    share: int = 0
    e8m0: bool = False

    @property
    def parts(self) -> int:
        """Of a block: codes in a word of the weight."""
        return 2 * self.weight.itemsize

    @property
    def nbytes(self) -> int:
        return held_bytes(self.weight, self.scales, self.row_scales)

    @property
    def layout(self) -> dict[str, Any]:
        """The compile-time constants of the layout."""
        return {
            "GROUP": self.group,
            "PER_GROUP": -(-self.group // self.block_k),
            "BLOCKS": self.weight.shape[1],
            "PARTS": self.parts,
            "TILE_N": TILE_N,
            "SHARE": self.share,
            "E8M0": self.e8m0,
            "BLOCK_K": self.block_k,
        }


class NibblesLinear:
    """A linear map with such weights; many rows multiply weights rounded to `dtype`."""

    def __init__(self, weight: Nibbles, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias if bias is None else bias.to(dtype).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        y = multiply_nibbles(as_rows(x), self._weight, self._bias)
        return y.view(*x.shape[:-1], self._weight.out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales with zero points, bias."""
        return held_bytes(self._weight, self._bias)


def most_block_k(dtype: torch.dtype) -> int:
    """Inputs of the largest block whose product is computed in `dtype`."""
    return MOST_FLOAT32_BLOCK_K if dtype == torch.float32 else LARGEST_BLOCK_K


def parts_for(block_k: int, dtype: torch.dtype) -> int:
    """Codes in a word of integers whose product is computed in `dtype`: four, whose parts a tensor
    core's dot can take one by one, or two."""
    return 2 if dtype == torch.float32 or block_k < 4 * LEAST_DOT_K else 4


def interleave(codes: Tensor, group: int, block_k: int, parts: int) -> Tensor:
    """Codes uint8 0-15 [N, K] -> words [tiles, blocks, TILE_N, block_k / parts], outputs and each
    group filled up with zeros to whole tiles and blocks. Word j of an output's block b holds
    k = b · block_k + i · block_k / parts + j in its bits 4i to 4i + 3: a byte of two parts, or
    int16 of four."""
    whole = F.pad(codes, (0, 0, 0, -len(codes) % TILE_N))
    groups = whole.unflatten(1, (-1, group))
    padded = F.pad(groups, (0, -group % block_k)).flatten(1)
    split = padded.unflatten(1, (-1, parts, block_k // parts))
    bytes_ = [split[:, :, i] | (split[:, :, i + 1] << 4) for i in range(0, parts, 2)]
    words = torch.stack(bytes_, dim=-1)  # the lower byte first, as the devices have it
    words = words.flatten(2).view(torch.uint8 if parts == 2 else torch.int16)
    return words.unflatten(0, (-1, TILE_N)).transpose(1, 2).contiguous()


def grids(scales: Tensor, zeros: Tensor) -> Tensor:
    """Scales [N, GROUPS] and zero points uint8 0-15 -> int32 [GROUPS, N]: a scale's bits in
    float32, the last four of them the zero point. 16-bit floats leave those free; a scale that is
    float32 is rounded, by at most 2^-20 of it."""
    bits = scales.T.float().contiguous().view(torch.int32)
    nearest = bits + 7 + ((bits >> 4) & 1)  # ties to even
    return (nearest & -16) | zeros.T


def multiply_nibbles(x: Tensor, w: Nibbles, bias: Tensor | None) -> Tensor:
    """x [M, K], unit stride along K -> [M, N] in x's dtype."""
    m = len(x)
    if m > (MOST_FLOAT32_ROWS if x.dtype == torch.float32 else MOST_FOUR_BIT_ROWS):
        wide = widened(w, x.dtype)
        return x @ wide if bias is None else torch.addmm(bias, x, wide)
    out = torch.empty((m, w.out_features), dtype=x.dtype, device=x.device)
    if m:
        _multiply_packed(x, w, bias, out)
    return out


def widened(w: Nibbles, dtype: torch.dtype) -> Tensor:
    """Wᵀ [K, N] in scratch, valid until the next call."""
    from .nibbles_kernel import widen_kernel

    n = w.out_features
    wide = scratch("4-bit weight", (w.in_features, n), dtype, w.weight.device)
    tensors = (w.weight, w.scales, w.row_scales, wide)
    layout = w.layout
    grid = (layout["BLOCKS"], len(w.weight))
    launch(widen_kernel, grid, *tensors, n, **layout, warps=4, stages=None)
    return wide


def _multiply_packed(x: Tensor, w: Nibbles, bias: Tensor | None, out: Tensor) -> None:
    from .nibbles_kernel import nibbles_kernel

    m, n = out.shape
    tiles = _tiles(m, w, x.dtype)
    grid = tiles.grid(m, n)
    layout = w.layout
    splits = split_count(grid[0] * grid[1], layout["BLOCKS"], tiles.enough, tiles.most_splits)
    parts = parts_of(out, splits, torch.float32)
    tensors = (w.weight, w.scales, w.row_scales, bias, parts)
    launch(
        *(nibbles_kernel, (*grid, splits), x, x.stride(0), *tensors, m, n),
        **layout,
        BLOCK_M=tiles.block_m,
        BLOCK_N=tiles.block_n,
        SPLITS=splits,
        # Words of four are for tensor cores; AMD has other instructions, the interpreter none.
        ASSEMBLY=w.parts == 4 and not (interpreted() or on_amd()),
        WIDEN=interpreted() and x.dtype == torch.bfloat16,
        warps=tiles.warps,
        stages=tiles.stages,
    )
    add_splits(parts, out, None, w.row_scales, bias)


def _tiles(m: int, w: Nibbles, dtype: torch.dtype) -> Tiles:
    if dtype == torch.float32:
        return float32_tiles(w.block_k)
    return four_bit_tiles(m, w.block_k) if w.share else integer_tiles(m, w.block_k)
