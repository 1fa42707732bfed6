"""Keys and values in eight bits: the tensors of one layer, as kernels see them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SCALE_DTYPE = torch.bfloat16


@dataclass(frozen=True)
class QuantizedKV:
    """One layer's cache; `reference/quantized_kv.py` says what the codes and scales mean.

    keys, values: codes, int8 or float8_e4m3fn, [blocks, block_size, kv_heads, head_dim] or
    [tokens, kv_heads, head_dim]. key_scales, value_scales: the same without head_dim, bfloat16.
    All contiguous.
    """

    keys: Tensor
    values: Tensor
    key_scales: Tensor
    value_scales: Tensor
