"""A division that rounds alike on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def divided(values: Tensor, by: float) -> Tensor:
    """values / by, rounded once. By a number, PyTorch multiplies by its inverse on a GPU, which may
    be off in the last bit; by a tensor it divides."""
    return values / torch.full_like(values, by)
