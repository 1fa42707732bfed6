"""What a layer does between its products in bfloat16, each in one pass over its input.

What they compute takes a few microseconds at a decode step's sizes, of which PyTorch's operators,
each of several passes, take ten times as many. A function `takes_…` says which calls the library,
which is handed bare pointers, can compute; to the others a kernel is not called.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import Native
from .register import register


def takes_rms_norm(x: Tensor, weight: Tensor, eps: float) -> bool:  # noqa: ARG001
    """bfloat16, and a weight for each of the last dimension."""
    return _is_bfloat16(x) and _is_flat(weight) and weight.shape == x.shape[-1:]


class NativeRmsNorm:
    """`rms_norm` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """As the reference."""
        size = x.shape[-1]
        x, library = x.contiguous(), self._native.library
        y = torch.empty_like(x)
        library.rms_norm(
            *(x.data_ptr(), weight.data_ptr(), y.data_ptr()),
            *(x.numel() // size, size, eps, torch.get_num_threads(), library.parallel),
        )
        return y


def takes_add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> bool:  # noqa: ARG001
    """The same, where x and residual lie whole, for they are written to."""
    return (
        _is_flat(x)
        and _is_flat(residual)
        and _is_flat(weight)
        and x.shape == residual.shape
        and weight.shape == x.shape[-1:]
    )


class NativeAddRmsNorm:
    """`add_rms_norm` by `native`, in place: the sum where residual was, its norm where x was."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self, x: Tensor, residual: Tensor, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """As the reference."""
        size = x.shape[-1]
        library, at = self._native.library, x.data_ptr()
        library.add_rms_norm(
            *(at, residual.data_ptr(), weight.data_ptr(), at),
            *(x.numel() // size, size, eps, torch.get_num_threads(), library.parallel),
        )
        return x, residual


def takes_silu_mul(gate_up: Tensor) -> bool:
    """bfloat16."""
    return _is_bfloat16(gate_up)


class NativeSiluMul:
    """`silu_mul` by `native`."""

    def __init__(self, native: Native) -> None:
        self.native = native

    def __call__(self, gate_up: Tensor) -> Tensor:
        """As the reference."""
        size = gate_up.shape[-1] // 2
        gate_up, library = gate_up.contiguous(), self.native.library
        y = gate_up.new_empty(*gate_up.shape[:-1], size)
        library.silu_mul(
            *(gate_up.data_ptr(), y.data_ptr()),
            *(y.numel() // size, size, torch.get_num_threads(), library.parallel),
        )
        return y


def takes_rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> bool:
    """bfloat16, and tables that lie whole."""
    return _is_bfloat16(q) and _is_bfloat16(k) and _is_flat(cos) and _is_flat(sin)


class NativeRope:
    """`rope` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """As the reference, rounded as transformers' apply_rotary_pos_emb rounds."""
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


def takes_rope_cache_write(
    qkv: Tensor,
    q_norm: Tensor | None,
    k_norm: Tensor | None,
    eps: float,  # noqa: ARG001
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slot_mapping: Tensor,
) -> bool:
    """bfloat16, all of it lying whole; norms of both queries and keys, or of neither."""
    return (
        _is_flat(qkv)
        and (q_norm is None) == (k_norm is None)
        and (q_norm is None or _is_flat(q_norm))
        and (k_norm is None or _is_flat(k_norm))
        and _is_flat(cos)
        and _is_flat(sin)
        and _is_flat(k_cache)
        and _is_flat(v_cache)
        and slot_mapping.is_contiguous()
    )


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
        tokens, all_heads, head_dim = qkv.shape
        kv_heads = k_cache.shape[-2]
        heads, library = all_heads - 2 * kv_heads, self._native.library
        library.rope_cache_write(
            qkv.data_ptr(),
            *(None if norm is None else norm.data_ptr() for norm in (q_norm, k_norm)),
            *(eps, cos.data_ptr(), sin.data_ptr(), k_cache.data_ptr(), v_cache.data_ptr()),
            *(slot_mapping.data_ptr(), tokens, heads, kv_heads, head_dim // 2),
            *(torch.get_num_threads(), library.parallel),
        )
        return qkv[:, :heads]


def _is_bfloat16(tensor: Tensor) -> bool:
    return tensor.dtype is torch.bfloat16 and tensor.is_cpu


def _is_flat(tensor: Tensor) -> bool:
    return tensor.dtype is torch.bfloat16 and tensor.is_contiguous() and tensor.is_cpu


register("rms_norm", NativeRmsNorm, takes=takes_rms_norm)
register("add_rms_norm", NativeAddRmsNorm, takes=takes_add_rms_norm)
register("silu_mul", NativeSiluMul, takes=takes_silu_mul)
register("rope", NativeRope, takes=takes_rope)
register("rope_cache_write", NativeRopeCacheWrite, takes=takes_rope_cache_write)
