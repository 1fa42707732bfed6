"""A kernel of one's own in Triton: `llmbench run --kernel silu_mul=silu_mul_triton.py`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from llmbench.kernels.plugin import implements, package

BLOCK = 1024


@triton.jit
def kernel(gate_up_ptr, y_ptr, size, BLOCK: tl.constexpr):  # noqa: N803
    """A row of gate_up [tokens, 2 * size] in blocks; sums and products in float32."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < size
    gate = tl.load(gate_up_ptr + row * 2 * size + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + row * 2 * size + size + column, mask=inside, other=0.0)
    y = gate * tl.sigmoid(gate) * up.to(tl.float32)
    tl.store(y_ptr + row * size + column, y.to(y_ptr.dtype.element_ty), mask=inside)


def on_cuda(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16)


# A name that begins with "triton" lets `kernels check` run it in Triton's interpreter.
@implements("silu_mul", backend="triton-mine", when=on_cuda, needs=package("triton"), priority=200)
def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    gate_up = gate_up.contiguous()
    size = gate_up.shape[-1] // 2
    y = gate_up.new_empty(*gate_up.shape[:-1], size)
    rows = y.numel() // size if size else 0
    if rows:
        kernel[(rows, triton.cdiv(size, BLOCK))](gate_up, y, size, BLOCK=BLOCK)
    return y
