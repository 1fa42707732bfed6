"""Writing the KV cache in Triton: keys and values in one launch, a program a token.

Bytes: 4 · kv_heads · head_dim · element size a token, read once and written once each; with 8 heads
of 128 in bfloat16, 8 KB a token. At one token a sequence the launch is all it costs.
"""

from __future__ import annotations

from torch import Tensor

from .launch import launch
from .register import implements_triton
from .target import power_of_two, warps_for


@implements_triton("cache_write")
def cache_write(
    k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slot_mapping: Tensor
) -> None:
    """As the reference; a token whose slot is negative is not written."""
    from .cache_kernel import cache_write_kernel

    tokens, kv_heads, head_dim = k.shape
    if tokens == 0:
        return
    block = power_of_two(kv_heads * head_dim)
    launch(
        *(
            cache_write_kernel,
            (tokens,),
            k,
            v,
            k_cache,
            v_cache,
            slot_mapping,
            *k.stride(),
            *v.stride(),
        ),
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        BLOCK=block,
        warps=warps_for(block),
    )
