"""What a quantised KV cache must compute: transformers with a cache that rounds, by arithmetic
written here."""

from __future__ import annotations

import torch
from transformers import DynamicCache


class RoundingCache(DynamicCache):
    """Keeps each head's keys and values as int8 or e4m3 would."""

    def __init__(self, kv_dtype: str) -> None:
        super().__init__()
        self._kv_dtype = kv_dtype

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        rounded = (self._round(key_states), self._round(value_states))
        return super().update(*rounded, layer_idx, *args, **kwargs)

    def _round(self, x: torch.Tensor) -> torch.Tensor:
        largest = 127 if self._kv_dtype == "int8" else 448
        scale = (x.abs().amax(dim=-1, keepdim=True) / largest).bfloat16().float()
        steps = torch.clamp(x / scale, -largest, largest)
        if self._kv_dtype == "int8":
            return torch.round(steps) * scale
        return steps.to(torch.float8_e4m3fn).float() * scale
