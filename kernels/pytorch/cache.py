"""Writing the KV cache with one scatter a tensor, on any PyTorch device."""

from __future__ import annotations

from torch import Tensor

from ..registry import implements


@implements("cache_write", backend="torch")
def cache_write(
    k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slot_mapping: Tensor
) -> None:
    """As the reference."""
    heads = k.shape[1:]
    k_cache.view(-1, *heads).index_copy_(0, slot_mapping, k)
    v_cache.view(-1, *heads).index_copy_(0, slot_mapping, v)
