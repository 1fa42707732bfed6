"""Dense linear maps by PyTorch's own operator, on any of its devices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..held import held_bytes
from ..registry import implements


@implements("linear", backend="torch")
class TorchLinear:
    """As the reference. The weight is used where it lies, not copied."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:  # noqa: ARG002
        self.weight = weight
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: weight and bias."""
        return held_bytes(self.weight, self.bias)
