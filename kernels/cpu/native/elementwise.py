"""What a layer does between its products in bfloat16, each in one pass over its input.

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


class NativeAddRmsNorm:
    """`add_rms_norm` by `native`, in place: the sum where residual was, its norm where x was."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self, x: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As the reference."""
        size = x.shape[-1]
        if (
            x.shape != residual.shape
            or weight.shape != (size,)
            or not _are_flat_bfloat16(x, residual, weight)
        ):
            return norm.add_rms_norm(x, residual, weight, eps)
        library, at = self._native.library, x.data_ptr()
        library.add_rms_norm(
            *(at, residual.data_ptr(), weight.data_ptr(), at),
            *(x.numel() // size, size, eps, torch.get_num_threads(), library.parallel),
        )
        return x, residual


class NativeSiluMul:
    """`silu_mul` by `native`."""

    def __init__(self, native: Native) -> None:
        self.native = native

    def __call__(self, gate_up: Tensor) -> Tensor:
        """As the reference."""
        if not _are_bfloat16(gate_up):
            return activation.silu_mul(gate_up)
        size = gate_up.shape[-1] // 2
        gate_up, library = gate_up.contiguous(), self.native.library
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


class NativeRopeCacheWrite:
    """`rope_cache_write` by `native`; the queries are rotated where they lie in qkv."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self,
        qkv: Tensor,
        q_norm: Tensor | None,
        k_norm: Tensor | None,
        eps: float,
        cos: Tensor,
        sin: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        slot_mapping: Tensor,
    ) -> Tensor:
        """As the reference."""
        norms = () if q_norm is None or k_norm is None else (q_norm, k_norm)
        if not slot_mapping.is_contiguous() or not _are_flat_bfloat16(
            qkv, *norms, cos, sin, k_cache, v_cache
        ):
            return rotary.rope_cache_write(
                qkv, q_norm, k_norm, eps, cos, sin, k_cache, v_cache, slot_mapping
            )
        tokens, all_heads, head_dim = qkv.shape
        kv_heads = k_cache.shape[-2]
        heads, library = all_heads - 2 * kv_heads, self._native.library
        library.rope_cache_write(
            qkv.data_ptr(),
            *((one.data_ptr() for one in norms) if norms else (None, None)),
            *(eps, cos.data_ptr(), sin.data_ptr(), k_cache.data_ptr(), v_cache.data_ptr()),
            *(slot_mapping.data_ptr(), tokens, heads, kv_heads, head_dim // 2),
            *(torch.get_num_threads(), library.parallel),
        )
        return qkv[:, :heads]


def _are_bfloat16(*tensors: Tensor) -> bool:
    """The library is handed bare pointers."""
    return all(tensor.dtype == torch.bfloat16 and tensor.is_cpu for tensor in tensors)


def _are_flat_bfloat16(*tensors: Tensor) -> bool:
    """A loop: a generator would cost as much as the tensors do."""
    for tensor in tensors:
        if tensor.dtype is not torch.bfloat16 or not tensor.is_contiguous() or not tensor.is_cpu:
            return False
    return True


for _target in TARGETS:
    _native = Native(_target)
    for _op, _kernel in (
        ("rms_norm", NativeRmsNorm),
        ("add_rms_norm", NativeAddRmsNorm),
        ("silu_mul", NativeSiluMul),
        ("rope", NativeRope),
        ("rope_cache_write", NativeRopeCacheWrite),
    ):
        implements(
            _op,
            backend=f"native-{_target.name}",
            when=_native.runs,
            priority=_target.priority,
            needs=_native.missing,
        )(_kernel(_native))
