"""RMSNorm, SwiGLU's gate and rotary embedding in bfloat16, each in one pass over its input.

What they compute takes a few microseconds at a decode step's sizes, of which PyTorch's operators,
each of several passes, take ten times as many. Other dtypes go to PyTorch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...registry import implements
from .. import activation, norm
from .. import rope as rotary
from .build import TARGETS
from .library import Native


class NativeRmsNorm:
    """`rms_norm` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As the reference."""
        size = x.shape[-1]
        if not _are_bfloat16(x, weight) or weight.shape != (size,) or not weight.is_contiguous():
            return norm.rms_norm(x, weight, eps)
        x, library = x.contiguous(), self._native.library
        y = torch.empty_like(x)
        library.rms_norm(
            *(x.data_ptr(), weight.data_ptr(), y.data_ptr()),
            *(x.numel() // size, size, eps, torch.get_num_threads(), library.parallel),
        )
        return y


class NativeSiluMul:
    """`silu_mul` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, gate_up: Tensor) -> Tensor:
        """As the reference."""
        if not _are_bfloat16(gate_up):
            return activation.silu_mul(gate_up)
        size = gate_up.shape[-1] // 2
        gate_up, library = gate_up.contiguous(), self._native.library
        y = gate_up.new_empty(*gate_up.shape[:-1], size)
        library.silu_mul(
            *(gate_up.data_ptr(), y.data_ptr()),
            *(y.numel() // size, size, torch.get_num_threads(), library.parallel),
        )
        return y


class NativeRope:
    """`rope` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """As the reference, rounded as transformers' apply_rotary_pos_emb rounds."""
        tables = (cos, sin)
        if not _are_bfloat16(q, k, *tables) or not all(table.is_contiguous() for table in tables):
            return rotary.rope(q, k, cos, sin)
        return self._rotate(q, cos, sin), self._rotate(k, cos, sin)

    def _rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        tokens, heads, head_dim = x.shape
        # The heads of a token lie together in a slice of a fused projection too.
        if x.stride(2) != 1 or x.stride(1) != head_dim:
            x = x.contiguous()
        y, library = x.new_empty(x.shape), self._native.library
        library.rope(
            *(x.data_ptr(), x.stride(0), cos.data_ptr(), sin.data_ptr(), y.data_ptr()),
            *(tokens, heads, head_dim // 2, torch.get_num_threads(), library.parallel),
        )
        return y


def _are_bfloat16(*tensors: Tensor) -> bool:
    """The library is handed bare pointers."""
    return all(tensor.dtype == torch.bfloat16 and tensor.is_cpu for tensor in tensors)


for _target in TARGETS:
    _native = Native(_target)
    for _op, _kernel in (
        ("rms_norm", NativeRmsNorm),
        ("silu_mul", NativeSiluMul),
        ("rope", NativeRope),
    ):
        implements(
            _op,
            backend=f"native-{_target.name}",
            when=_native.runs,
            priority=_target.priority,
            needs=_native.missing,
        )(_kernel(_native))
