"""Weights in eight bits with a scale a row: the one form that formats are read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .division import divided
from .registry import KernelError

LARGEST_CODE = 127


@dataclass(frozen=True, eq=False)
class W8A8Weight:
    """W[n, k] = codes[n, k] · scales[n].

    codes: int8 [out_features, in_features]; ours are within ±127, a checkpoint's may be -128.
    scales: float32 [out_features].
    Raises KernelError where shapes or dtypes are others.
    """

    codes: Tensor
    scales: Tensor

    def __post_init__(self) -> None:
        if self.codes.dtype != torch.int8 or self.codes.ndim != 2:
            raise KernelError(f"codes {self.codes.dtype} {tuple(self.codes.shape)}: int8 [N, K]")
        if self.scales.dtype != torch.float32 or self.scales.shape != (self.out_features,):
            raise KernelError(
                f"scales {self.scales.dtype} {tuple(self.scales.shape)} are not float32 "
                f"({self.out_features},), one a row"
            )

    @property
    def out_features(self) -> int:
        return self.codes.shape[0]

    @property
    def in_features(self) -> int:
        return self.codes.shape[1]

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    def to(self, device: torch.device | str) -> W8A8Weight:
        """The same weights on another device."""
        return W8A8Weight(self.codes.to(device), self.scales.to(device))


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [..., size] -> codes int8 [..., size], scales float32 [...]; x is about codes · scales.

    Symmetric, the largest of a row is ±127; rounded to nearest, ties to even. Source: Xiao et al.,
    "SmoothQuant", 2023, eq. 1; a scale a row of the weights and, at run time, a token.
    A row with an infinity or a NaN gets a scale that is one.
    """
    wide = x.float()
    # A row of zeros has codes of zero under any scale; this one divides without a NaN.
    scales = divided(wide.abs().amax(-1), LARGEST_CODE).clamp_min(torch.finfo(torch.float32).tiny)
    steps = (wide / scales[..., None]).round().clamp(-LARGEST_CODE, LARGEST_CODE)
    return steps.nan_to_num(0.0).to(torch.int8), scales


def stack_w8a8(parts: Sequence[W8A8Weight]) -> W8A8Weight:
    """Several weights of the same inputs as one, along out_features."""
    widths = {part.in_features for part in parts}
    if len(widths) != 1:
        raise KernelError(f"in_features must be shared to stack, not {widths}")
    if len(parts) == 1:
        return parts[0]
    return W8A8Weight(
        torch.cat([part.codes for part in parts]), torch.cat([part.scales for part in parts])
    )
