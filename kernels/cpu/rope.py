"""Rotary position embedding in the activations' own dtype, on any PyTorch device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements


@implements("rope", backend="torch")
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """As the reference; equal to transformers' apply_rotary_pos_emb bit for bit, in any dtype."""
    cos, sin = cos[:, None], sin[:, None]
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    # No addcmul: its fused multiply-add rounds once where transformers rounds twice.
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
