"""Weights in four-bit floats with a scale a block: the one form that formats are read into.

e2m1 has a sign and {0, .5, 1, 1.5, 2, 3, 4, 6} (OCP Microscaling Formats (MX) Specification 1.0,
2023, section 5.3.3). MXFP4: blocks of 32 with a power of two, e8m0 (its section 5.4). NVFP4: blocks
of 16 with an e4m3 number, and one float32 factor a tensor (NVIDIA, TensorRT Model Optimizer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .division import divided
from .fp8 import E4M3, LARGEST_E4M3, LEAST_E4M3
from .int4 import pack_nibbles, unpack_nibbles
from .registry import KernelError

MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LARGEST_E2M1 = 6.0
E8M0_BIAS = 127
# What every implementation of `fp4_linear` does: none multiplies e2m1 yet.
WIDENED_E2M1 = "e2m1 codes are widened for each product: less memory, no faster arithmetic"
ScaleFormat = Literal["e4m3", "e8m0"]
BLOCK: dict[ScaleFormat, int] = {"e4m3": 16, "e8m0": 32}


@dataclass(frozen=True, eq=False)
class Fp4Weight:
    """W[n, k] = e2m1(code[n, k]) · scale[n, k // block] · row_scales[n].

    nibbles: uint8 [out_features, in_features / 2]; byte j holds k = 2j low and k = 2j + 1 high.
    scales: the bytes of `scale_format`, uint8 [out_features, in_features / block], no NaN and, of
    e4m3, no sign. row_scales: float32 [out_features], NVFP4's factor of the tensor; MXFP4: ones.
    Raises KernelError where shapes, dtypes or scales are others.
    """

    nibbles: Tensor
    scales: Tensor
    row_scales: Tensor
    scale_format: ScaleFormat

    def __post_init__(self) -> None:
        if any(part.dtype != torch.uint8 or part.ndim != 2 for part in (self.nibbles, self.scales)):
            raise KernelError("nibbles and scales are not uint8 matrices")
        if self.in_features % self.block:
            raise KernelError(f"blocks of {self.block} do not divide {self.in_features} inputs")
        expected = (self.out_features, self.in_features // self.block)
        if self.scales.shape != expected:
            raise KernelError(f"scales {tuple(self.scales.shape)} are not {expected}, one a block")
        if self.row_scales.dtype != torch.float32 or self.row_scales.shape != expected[:1]:
            raise KernelError(f"row_scales are not float32 {expected[:1]}")
        beyond = 0x7E if self.scale_format == "e4m3" else 0xFE
        if bool((self.scales > beyond).any()):
            raise KernelError(f"{self.scale_format} scales hold a NaN or a negative number")

    @property
    def block(self) -> int:
        """Weights of a row that share a scale."""
        return BLOCK[self.scale_format]

    @property
    def out_features(self) -> int:
        return self.nibbles.shape[0]

    @property
    def in_features(self) -> int:
        return 2 * self.nibbles.shape[1]

    @property
    def nbytes(self) -> int:
        return self.nibbles.nbytes + self.scales.nbytes + self.row_scales.nbytes

    def codes(self) -> Tensor:
        """uint8 0-15 [out_features, in_features]."""
        return unpack_nibbles(self.nibbles)

    def to(self, device: torch.device | str) -> Fp4Weight:
        """The same weights on another device."""
        nibbles, scales = self.nibbles.to(device), self.scales.to(device)
        return Fp4Weight(nibbles, scales, self.row_scales.to(device), self.scale_format)


def dequantize_fp4(weight: Fp4Weight) -> Tensor:
    """The weights, float32 [out_features, in_features]."""
    codes = weight.codes().long()
    sizes = torch.tensor(MAGNITUDES, device=codes.device)[codes & 7]
    numbers = torch.where(codes >= 8, -sizes, sizes)
    return numbers * block_scales(weight).repeat_interleave(weight.block, 1)


def block_scales(weight: Fp4Weight) -> Tensor:
    """What the codes of each block are multiplied by, float32 [out_features, blocks]."""
    return scale_numbers(weight) * weight.row_scales[:, None]


def scale_numbers(weight: Fp4Weight) -> Tensor:
    """The blocks' scales alone, float32 [out_features, blocks]."""
    if weight.scale_format == "e4m3":
        return weight.scales.view(E4M3).float()
    exponents = weight.scales.int() - E8M0_BIAS
    return torch.ldexp(torch.ones_like(exponents, dtype=torch.float32), exponents)


def quantize_nvfp4(weight: Tensor, magnitude: Tensor | None = None) -> Fp4Weight:
    """weight [N, K] rounded to nearest. The factor of the tensor makes its largest 6 · 448, so that
    a block's largest / 6 fits e4m3. No scale is 0: by e4m3's least a block that lies far below the
    tensor's largest is still told from zeros.

    magnitude: float32, the largest of all weights that share the factor with this one; None: it has
    one of its own."""
    blocks = weight.float().unflatten(1, (-1, BLOCK["e4m3"]))
    largest = blocks.abs().amax(-1)
    shared = largest.max() if magnitude is None else magnitude
    factor = divided(shared, LARGEST_E2M1 * LARGEST_E4M3).clamp_min(2.0**-100)
    scales = (divided(largest, LARGEST_E2M1) / factor).clamp_min(LEAST_E4M3).to(E4M3)
    steps = blocks / (scales.float() * factor)[..., None]
    nibbles = pack_nibbles(_e2m1_codes(steps).flatten(1))
    row_scales = factor.expand(len(weight)).contiguous()
    return Fp4Weight(nibbles, scales.view(torch.uint8), row_scales, "e4m3")


def quantize_mxfp4(weight: Tensor) -> Fp4Weight:
    """weight [N, K] rounded to nearest under the specification's scale (its section 6.3): the power
    of two of a block's largest, less e2m1's largest exponent, 2. What is then beyond 6 becomes 6.
    """
    blocks = weight.float().unflatten(1, (-1, BLOCK["e8m0"]))
    _, exponents = torch.frexp(blocks.abs().amax(-1))  # largest = [0.5, 1) · 2^exponent
    scales = (exponents - 1 - 2 + E8M0_BIAS).clamp(0, 0xFE)
    steps = torch.ldexp(blocks, (E8M0_BIAS - scales)[..., None])
    ones = torch.ones(len(weight), device=weight.device)
    return Fp4Weight(
        pack_nibbles(_e2m1_codes(steps).flatten(1)), scales.to(torch.uint8), ones, "e8m0"
    )


def stack_fp4(parts: Sequence[Fp4Weight]) -> Fp4Weight:
    """Several weights of the same inputs as one, along out_features."""
    shared = {(part.in_features, part.scale_format) for part in parts}
    if len(shared) != 1:
        raise KernelError(f"(in_features, scale format) must be shared to stack, not {shared}")
    if len(parts) == 1:
        return parts[0]
    return Fp4Weight(
        torch.cat([part.nibbles for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat([part.row_scales for part in parts]),
        parts[0].scale_format,
    )


def _e2m1_codes(steps: Tensor) -> Tensor:
    """The nearest code, ties to the even one, sizes beyond 6 at 6."""
    sizes = torch.tensor(MAGNITUDES, device=steps.device)
    ties = (sizes[1:] + sizes[:-1]) / 2
    # A tie between codes c and c + 1 belongs to the even one: up from an odd c.
    below = torch.bucketize(steps.abs(), ties, right=False)
    above = torch.bucketize(steps.abs(), ties, right=True)
    codes = torch.where(below % 2 == 0, below, above)
    return torch.where(steps < 0, codes + 8, codes).to(torch.uint8)
