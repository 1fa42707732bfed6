"""4-bit linear in Triton for CUDA: weights stay packed until they are in registers.

A byte holds weights k and k + BLOCK_K / 2, so each half of a block feeds one dot and no
interleaving is needed; a group's scale is applied once, to the accumulator. Few rows leave most
of the device idle, so K is split over programs and the parts are added in a fixed order: no
atomics, results repeat.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..packing import PackedInt4, unpack
from ..registry import KernelError, implements
from ..requirements import package

BLOCK_N = 64
LARGEST_BLOCK_K = 128
LARGEST_BLOCK_M = 64
# Programs that fill a large device about twice; beyond that a split only adds traffic.
ENOUGH_PROGRAMS = 256


def _on_cuda(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16)


@implements("w4a16_linear", backend="triton", when=_on_cuda, priority=100, needs=package("triton"))
class TritonInt4Linear:
    """As the reference. Raises KernelError unless group_size is a power of two, at least 32."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        group_size = packed.group_size
        if group_size < 32 or group_size & (group_size - 1):
            raise KernelError(f"group size {group_size} is not a power of two from 32")
        self._group_size = group_size
        self._block_k = min(group_size, LARGEST_BLOCK_K)
        self._out_features = packed.out_features
        self._weight = _interleave_halves(unpack(packed), self._block_k)
        self._scales = packed.scales.T.contiguous()
        self._zeros = packed.zeros.T.contiguous()
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        y = self._matmul(rows)
        if self._bias is not None:
            y += self._bias
        return y.to(self._dtype).view(*x.shape[:-1], self._out_features)

    def _matmul(self, x: Tensor) -> Tensor:
        """x [M, K] -> float32 [M, N]."""
        from triton import knobs

        from .w4a16_kernel import w4a16_kernel

        m = x.shape[0]
        n = self._out_features
        block_m = min(LARGEST_BLOCK_M, max(16, 1 << max(m - 1, 0).bit_length()))
        tiles = (-(-m // block_m), -(-n // BLOCK_N))
        k_blocks = x.shape[1] // self._block_k
        splits = _splits(tiles[0] * tiles[1], k_blocks)
        parts = torch.empty((splits, m, n), dtype=torch.float32, device=x.device)
        constants: dict[str, Any] = {
            "BLOCKS": k_blocks,
            "GROUP": self._group_size,
            "BLOCK_M": block_m,
            "BLOCK_N": BLOCK_N,
            "BLOCK_K": self._block_k,
            "SPLITS": splits,
            "WIDEN": knobs.runtime.interpret and x.dtype == torch.bfloat16,
        }
        w4a16_kernel[(*tiles, splits)](
            x,
            self._weight,
            self._scales,
            self._zeros,
            parts,
            m,
            n,
            x.stride(0),
            **constants,
        )
        return parts[0] if splits == 1 else parts.sum(dim=0)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, zeros, bias."""
        bias = 0 if self._bias is None else self._bias.nbytes
        return self._weight.nbytes + self._scales.nbytes + self._zeros.nbytes + bias


def _interleave_halves(q: Tensor, block_k: int) -> Tensor:
    """Codes [N, K] -> bytes [K / 2, N]; byte (b, j) holds k = b · block_k + j and that + half."""
    halves = q.T.reshape(-1, 2, block_k // 2, q.shape[0])
    return (halves[:, 0] | (halves[:, 1] << 4)).flatten(0, 1).contiguous()


def _splits(programs: int, k_blocks: int) -> int:
    """A power of two up to 8 that brings enough programs, never more than there are blocks."""
    splits = 1
    while splits < 8 and programs * splits < ENOUGH_PROGRAMS and 2 * splits <= k_blocks:
        splits *= 2
    return splits
