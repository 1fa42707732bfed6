"""A kernel of one's own in PyTorch: `llmbench run --kernel silu_mul=silu_mul_torch.py`."""

from __future__ import annotations

import torch
from llmbench.kernels.plugin import implements
from torch import Tensor
from torch.nn.functional import silu


@implements("silu_mul", backend="torch-mine", priority=200)
def silu_mul(gate_up: Tensor) -> Tensor:
    """gate_up [tokens, 2 * size] -> [tokens, size]; rounded once, from float32."""
    gate, up = gate_up.to(torch.float32).chunk(2, dim=-1)
    return (silu(gate) * up).to(gate_up.dtype)
