"""RMSNorm by PyTorch's own operator, on any of its devices."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..registry import implements


@implements("rms_norm", backend="torch")
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As the reference; in float32 equal to transformers' LlamaRMSNorm bit for bit."""
    return F.rms_norm(x, weight.shape, weight, eps)


@implements("add_rms_norm", backend="torch")
def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As the reference."""
    total = residual + x
    return F.rms_norm(total, weight.shape, weight, eps), total
