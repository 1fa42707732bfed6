"""SwiGLU's gate in Triton, one pass.

Bytes: two elements read and one written for each of the result's; at 14336 in bfloat16, 86 KB a
token. Bound by bandwidth from some hundred tokens on, by the launch below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import launch
from .register import implements_triton
from .target import interpreted, power_of_two, warps_for

# Elements of a program: enough bytes on their way in each, and programs for all units at one token.
BLOCK = 1024


@implements_triton("silu_mul")
def silu_mul(gate_up: Tensor) -> Tensor:
    """As the reference."""
    from .activation_kernel import silu_mul_kernel

    if gate_up.stride(-1) != 1:
        gate_up = gate_up.contiguous()
    tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty((tokens, size), dtype=gate_up.dtype, device=gate_up.device)
    if out.numel() == 0:
        return out
    block = min(BLOCK, power_of_two(size))
    launch(
        *(silu_mul_kernel, (tokens, -(-size // block)), gate_up, out, gate_up.stride(0)),
        SIZE=size,
        BLOCK=block,
        INTERPRETED=interpreted(),
        warps=warps_for(block),
    )
    return out
