"""RMSNorm. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements


@implements("rms_norm", backend="reference", priority=-100)
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last dimension, in float32.

    x [..., size], weight [size]; the result has x's shape and dtype.
    """
    wide = x.float()
    normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (normed * weight.float()).to(x.dtype)


@implements("add_rms_norm", backend="reference", priority=-100)
def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm of x + residual, and that sum: what stands between two blocks of a decoder.

    x, residual [T, size], contiguous, left as they are or overwritten: the caller reads neither
    again. The sum is rounded to x's dtype before it is normed. Both results are of x's shape.
    """
    total = (x.float() + residual.float()).to(x.dtype)
    return rms_norm(total, weight, eps), total
