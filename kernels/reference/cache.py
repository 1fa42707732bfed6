"""Writing new keys and values into the KV cache.

Source: Kwon et al., "Efficient Memory Management for LLM Serving with PagedAttention", 2023, 4.3;
the flat slot of a token is block · block_size + offset.
"""

from __future__ import annotations

from torch import Tensor

from ..registry import implements


@implements("cache_write", backend="reference", priority=-100)
def cache_write(
    k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slot_mapping: Tensor
) -> None:
    """Token t's key and value go to flat slot `slot_mapping[t]`, in place.

    k, v [T, kv_heads, head_dim]: any strides. slot_mapping int64 [T], no slot twice.
    k_cache, v_cache: contiguous, [blocks, block_size, kv_heads, head_dim] or
    [tokens, kv_heads, head_dim]; flattened to tokens, both layouts are one.
    """
    k_slots = k_cache.view(-1, *k.shape[1:])
    v_slots = v_cache.view(-1, *v.shape[1:])
    for token, slot in enumerate(slot_mapping.tolist()):
        k_slots[slot] = k[token]
        v_slots[slot] = v[token]
