"""RMSNorm in Triton, with the addition before it in the same pass: a program a row.

Bytes: rms_norm reads and writes each element once; add_rms_norm reads two and writes two, where
two kernels would read three and write two. Bound by bandwidth from some thousand rows of 4096 on,
by the launch below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import launch
from .register import implements_triton
from .target import interpreted, power_of_two, warps_for


@implements_triton("rms_norm")
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As the reference."""
    x = x.contiguous()
    out = torch.empty_like(x)
    _launch(x, None, weight, eps, out)
    return out


@implements_triton("add_rms_norm")
def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As the reference; x and residual are overwritten with the two results."""
    _launch(x, residual, weight, eps, x)
    return x, residual


def _launch(x: Tensor, residual: Tensor | None, weight: Tensor, eps: float, out: Tensor) -> None:
    from .norm_kernel import rms_norm_kernel

    if x.numel() == 0:
        return
    size = x.shape[-1]
    block = power_of_two(size)
    launch(
        *(rms_norm_kernel, (x.numel() // size,), x, residual, weight, out, eps),
        SIZE=size,
        BLOCK=block,
        INTERPRETED=interpreted(),
        warps=warps_for(block),
    )
