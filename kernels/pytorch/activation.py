"""SwiGLU's gate by PyTorch's own operators, on any of its devices."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..registry import implements


@implements("silu_mul", backend="torch")
def silu_mul(gate_up: Tensor) -> Tensor:
    """As the reference, rounded to the activations' dtype between the two factors."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)
