"""Weights in eight-bit floats, e4m3: the one form that formats are read into.

Format: Micikevicius et al., "FP8 Formats for Deep Learning", 2022 (e4m3: no infinity, largest 448,
least 2^-9); torch's `float8_e4m3fn`. Scales are multipliers in the three shapes that checkpoints
have: one a tensor, one a row (compressed-tensors' "channel"), one a block of 128 x 128
(DeepSeek-V3's `weight_scale_inv`, Technical Report, 2024, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from .division import divided
from .registry import KernelError

E4M3 = torch.float8_e4m3fn
LARGEST_E4M3 = 448.0
LEAST_E4M3 = 2.0**-9  # above zero
# What an implementation of `fp8_linear` does on a device without products of e4m3.
WIDENED_E4M3 = "e4m3 codes are widened for each product: less memory, no faster arithmetic"


@dataclass(frozen=True, eq=False)
class Fp8Weight:
    """W[n, k] = codes[n, k] · scales[n // block_rows, k // block_columns].

    codes: float8_e4m3fn [out_features, in_features], without NaN. scales: float32
    [ceil(out_features / block_rows), ceil(in_features / block_columns)].
    input_scale: float32 scalar, the static scale of the activations; None: they are scaled as they
    come, each token by itself, in groups of block_columns.
    Raises KernelError where shapes or dtypes are others.
    """

    codes: Tensor
    scales: Tensor
    block_rows: int
    block_columns: int
    input_scale: Tensor | None = None

    def __post_init__(self) -> None:
        if self.codes.dtype != E4M3 or self.codes.ndim != 2:
            shape = tuple(self.codes.shape)
            raise KernelError(f"codes {self.codes.dtype} {shape} are not float8_e4m3fn [N, K]")
        if not (self.block_rows > 0 and 0 < self.block_columns <= self.in_features):
            raise KernelError(
                f"blocks of {self.block_rows} x {self.block_columns} are none of {self.codes.shape}"
            )
        expected = (-(-self.out_features // self.block_rows), self.groups)
        if self.scales.dtype != torch.float32 or self.scales.shape != expected:
            raise KernelError(
                f"scales {self.scales.dtype} {tuple(self.scales.shape)} are not float32 "
                f"{expected}, one a block"
            )
        if self.input_scale is not None and (
            self.input_scale.dtype != torch.float32 or self.input_scale.numel() != 1
        ):
            raise KernelError("input_scale is not one float32 number")
        if self.input_scale is not None and self.groups != 1:
            raise KernelError("a static input_scale does not go with scales along in_features")
        # Codes 0x7F and 0xFF; kernels that widen by bit tricks would read them as ±480.
        if bool(((self.codes.view(torch.uint8) & 0x7F) == 0x7F).any()):
            raise KernelError("codes hold NaN")

    @property
    def out_features(self) -> int:
        return self.codes.shape[0]

    @property
    def in_features(self) -> int:
        return self.codes.shape[1]

    @property
    def groups(self) -> int:
        """Scales along in_features, of the weights and of a token."""
        return -(-self.in_features // self.block_columns)

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes

    def row_scales(self) -> Tensor:
        """A scale for each row and column block, float32 [out_features, groups]."""
        return self.scales.repeat_interleave(self.block_rows, 0)[: self.out_features]

    def to(self, device: torch.device | str) -> Fp8Weight:
        """The same weights on another device."""
        given = None if self.input_scale is None else self.input_scale.to(device)
        codes, scales = self.codes.to(device), self.scales.to(device)
        return Fp8Weight(codes, scales, self.block_rows, self.block_columns, given)


def quantize_fp8(
    weight: Tensor, block_rows: int = 1, block_columns: int | None = None
) -> Fp8Weight:
    """weight [N, K] rounded to nearest; the largest of a block becomes ±448. As a default, one
    scale a row. Raises KernelError for weights that are not finite."""
    if not bool(torch.isfinite(weight).all()):
        raise KernelError("weights that are not finite have no scale")
    n, k = weight.shape
    columns = k if block_columns is None else min(block_columns, k)
    padded = F.pad(weight.float(), (0, -k % columns, 0, -n % block_rows))
    blocks = padded.view(-1, block_rows, padded.shape[1] // columns, columns)
    scales = e4m3_scales(blocks.abs().amax((1, 3)))
    codes = _codes(blocks, scales[:, None, :, None]).view_as(padded)[:n, :k]
    return Fp8Weight(codes.contiguous(), scales, block_rows, columns)


def dequantize_fp8(weight: Fp8Weight) -> Tensor:
    """The weights, float32 [out_features, in_features]."""
    columns = weight.row_scales().repeat_interleave(weight.block_columns, 1)
    return weight.codes.float() * columns[:, : weight.in_features]


def quantize_activations(x: Tensor, weight: Fp8Weight) -> tuple[Tensor, Tensor]:
    """x [T, in_features] -> codes e4m3, the same shape, and scales float32 [T, groups].

    A static input_scale as it is, values beyond it at ±448; otherwise the largest of a token's
    group becomes ±448. Rounded to nearest, ties to even. A group with an infinity or a NaN has a
    scale that is one, or, under a static scale, keeps it as NaN.
    """
    groups = F.pad(x.float(), (0, -x.shape[-1] % weight.block_columns))
    groups = groups.view(len(x), weight.groups, weight.block_columns)
    if weight.input_scale is None:
        scales = e4m3_scales(groups.abs().amax(-1))
    else:
        bad = ~torch.isfinite(groups).all(-1)
        scales = torch.where(bad, torch.nan, weight.input_scale.reshape(1, 1))
    codes = _codes(groups, scales[..., None]).flatten(1)[:, : x.shape[-1]]
    return codes.contiguous(), scales


def stack_fp8(parts: Sequence[Fp8Weight]) -> Fp8Weight:
    """Several weights of the same inputs as one, along out_features.

    Blocks of rows become as small as the borders between the parts ask for. Raises KernelError
    where in_features, the columns of a block or the static scales of the inputs differ.
    """
    if len(parts) == 1:
        return parts[0]
    shared = {(part.in_features, part.block_columns) for part in parts}
    if len(shared) != 1:
        raise KernelError(f"(in_features, block columns) must be shared to stack, not {shared}")
    inputs = {None if p.input_scale is None else float(p.input_scale) for p in parts}
    if len(inputs) != 1:
        raise KernelError(f"input scales must be shared to stack, not {inputs}")
    rows = gcd(*(part.block_rows for part in parts), *(p.out_features for p in parts[:-1]))
    scales = [part.row_scales()[::rows] for part in parts]
    return Fp8Weight(
        # torch.cat knows no float8 on some devices; bytes are bytes.
        torch.cat([part.codes.view(torch.uint8) for part in parts]).view(E4M3),
        torch.cat(scales),
        rows,
        parts[0].block_columns,
        parts[0].input_scale,
    )


def e4m3_scales(largest: Tensor) -> Tensor:
    """By which the largest magnitudes become 448."""
    # Zeros have codes of zero under any scale; this one divides without a NaN.
    return divided(largest, LARGEST_E4M3).clamp_min(torch.finfo(torch.float32).tiny)


def _codes(values: Tensor, scales: Tensor) -> Tensor:
    steps = (values / scales).clamp(-LARGEST_E4M3, LARGEST_E4M3)
    return steps.nan_to_num(0.0).to(E4M3)
