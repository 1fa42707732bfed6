"""Weights in eight bits with a scale and a zero point a group: the one form that formats are read
into where activations are not quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .registry import KernelError

MIDDLE_CODE = 128


@dataclass(frozen=True, eq=False)
class GroupedInt8:
    """W[n, k] = (codes[n, k] - zeros[n, k // group_size]) · scales[n, k // group_size].

    codes: uint8 [out_features, in_features]. scales: floating [out_features, in_features /
    group_size]. zeros: uint8, the same shape; of symmetric weights all `MIDDLE_CODE`.
    Raises KernelError where shapes or dtypes are others.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    group_size: int

    def __post_init__(self) -> None:
        if any(part.dtype != torch.uint8 for part in (self.codes, self.zeros)):
            raise KernelError(f"codes {self.codes.dtype} and zeros {self.zeros.dtype}: uint8")
        if self.group_size < 1 or self.in_features % self.group_size:
            raise KernelError(
                f"group size {self.group_size} is not a divisor of {self.in_features} inputs"
            )
        expected = (self.out_features, self.in_features // self.group_size)
        if self.scales.shape != expected or self.zeros.shape != expected:
            raise KernelError(
                f"scales {tuple(self.scales.shape)} and zeros {tuple(self.zeros.shape)} are not "
                f"{expected}, one a group"
            )

    @property
    def out_features(self) -> int:
        return self.codes.shape[0]

    @property
    def in_features(self) -> int:
        return self.codes.shape[1]

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes + self.zeros.nbytes

    def to(self, device: torch.device | str) -> GroupedInt8:
        """The same weights on another device."""
        codes, scales, zeros = (part.to(device) for part in (self.codes, self.scales, self.zeros))
        return GroupedInt8(codes, scales, zeros, self.group_size)


def dequantize_grouped(weight: GroupedInt8) -> Tensor:
    """The weights, float32 [out_features, in_features]."""
    groups = weight.codes.float().unflatten(1, (-1, weight.group_size))
    return ((groups - weight.zeros.float()[..., None]) * weight.scales.float()[..., None]).flatten(
        1
    )


def stack_grouped(parts: Sequence[GroupedInt8]) -> GroupedInt8:
    """Several weights of the same inputs as one, along out_features."""
    shared = {(part.group_size, part.in_features) for part in parts}
    if len(shared) != 1:
        raise KernelError(f"(group size, in_features) must be shared to stack, not {shared}")
    if len(parts) == 1:
        return parts[0]
    return GroupedInt8(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.zeros for part in parts]),
        parts[0].group_size,
    )
