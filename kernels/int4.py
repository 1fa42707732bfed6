"""The one form of 4-bit weights that formats are read into and kernels are prepared from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .registry import KernelError


@dataclass(frozen=True, eq=False)
class PackedInt4:
    """W[n, k] = (q[n, k] - zeros[n, k // group_size]) · scales[n, k // group_size].

    nibbles: uint8 [out_features, in_features / 2]; byte j holds k = 2j low and k = 2j + 1 high.
    scales: floating [out_features, in_features / group_size]. zeros: uint8, the same shape, 0-15.
    Raises KernelError where the shapes do not agree.
    """

    nibbles: Tensor
    scales: Tensor
    zeros: Tensor
    group_size: int

    def __post_init__(self) -> None:
        if self.group_size < 2 or self.group_size % 2 or self.in_features % self.group_size:
            raise KernelError(
                f"group size {self.group_size} is not an even divisor of {self.in_features} inputs"
            )
        expected = (self.out_features, self.in_features // self.group_size)
        if self.scales.shape != expected or self.zeros.shape != expected:
            raise KernelError(
                f"scales {tuple(self.scales.shape)} and zeros {tuple(self.zeros.shape)} are not "
                f"{expected}, one a group"
            )

    @property
    def out_features(self) -> int:
        return self.nibbles.shape[0]

    @property
    def in_features(self) -> int:
        return 2 * self.nibbles.shape[1]

    @property
    def nbytes(self) -> int:
        return self.nibbles.nbytes + self.scales.nbytes + self.zeros.nbytes

    def to(self, device: torch.device | str) -> PackedInt4:
        """The same weights on another device."""
        return PackedInt4(
            self.nibbles.to(device), self.scales.to(device), self.zeros.to(device), self.group_size
        )


def pack_int4(q: Tensor, scales: Tensor, zeros: Tensor, group_size: int) -> PackedInt4:
    """From codes q, integers 0-15 [out_features, in_features]. Raises KernelError for others."""
    if q.shape[1] % 2:
        raise KernelError(f"in_features {q.shape[1]} is odd; a byte holds two weights")
    for name, codes in (("codes", q), ("zeros", zeros)):
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) > 15):
            raise KernelError(f"{name} outside 0-15 do not fit in four bits")
    return PackedInt4(pack_nibbles(q.to(torch.uint8)), scales, zeros.to(torch.uint8), group_size)


def unpack_int4(packed: PackedInt4) -> Tensor:
    """The codes, uint8 0-15 [out_features, in_features]."""
    return unpack_nibbles(packed.nibbles)


def pack_nibbles(codes: Tensor) -> Tensor:
    """uint8 0-15 [rows, n], n even -> uint8 [rows, n / 2]; even columns low."""
    return (codes[:, 0::2] | (codes[:, 1::2] << 4)).contiguous()


def unpack_nibbles(nibbles: Tensor) -> Tensor:
    """The inverse: uint8 [rows, n / 2] -> uint8 0-15 [rows, n]."""
    return torch.stack((nibbles & 15, nibbles >> 4), dim=-1).flatten(1)


def dequantize_int4(packed: PackedInt4) -> Tensor:
    """The weights, float32 [out_features, in_features]."""
    grouped = unpack_int4(packed).float().unflatten(1, (-1, packed.group_size))
    weights = (grouped - packed.zeros.float()[..., None]) * packed.scales.float()[..., None]
    return weights.flatten(1)


def stack_int4(parts: Sequence[PackedInt4]) -> PackedInt4:
    """Several weights of the same inputs as one, along out_features."""
    shared = {(part.group_size, part.in_features) for part in parts}
    if len(shared) != 1:
        raise KernelError(f"(group size, in_features) must be shared to stack, not {shared}")
    if len(parts) == 1:
        return parts[0]
    return PackedInt4(
        torch.cat([part.nibbles for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.zeros for part in parts]),
        parts[0].group_size,
    )
