"""Rotary position embedding.

Source: Su et al., "RoFormer", 2021, eq. 34, with the pairing of Hugging Face's Llama: element i
turns with element i + head_dim/2 (the paper turns 2i with 2i + 1; the checkpoints are permuted).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements


@implements("rope", backend="reference", priority=-100)
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate every head of q and k by its token's angles, in float32; new tensors.

    q [T, query_heads, head_dim], k [T, kv_heads, head_dim]: any strides.
    cos, sin [T, head_dim / 2]: one angle a pair, in q's dtype (Hugging Face's tables hold each
    angle twice; these do not).
    """
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = cos.float()[:, None], sin.float()[:, None]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)
