"""SwiGLU's gate. Source: Shazeer, "GLU Variants Improve Transformer", 2020, eq. 6."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements


@implements("silu_mul", backend="reference", priority=-100)
def silu_mul(gate_up: Tensor) -> Tensor:
    """silu(gate) · up, in float32. gate_up [T, 2 · size], gate first; result [T, size]."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (gate * torch.sigmoid(gate) * up).to(gate_up.dtype)
