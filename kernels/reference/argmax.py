"""The likeliest token: what greedy sampling takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements


@implements("argmax", backend="reference", priority=-100)
def argmax(logits: Tensor) -> Tensor:
    """The index of the largest element of each row, int64 [rows]; of equal ones the first.

    logits [rows, vocab], vocab at least 1. A NaN is larger than every number.
    """
    wide = logits.float().nan_to_num(nan=torch.inf, posinf=torch.finfo(torch.float32).max)
    largest = wide.amax(dim=-1, keepdim=True)
    return (wide == largest).int().argmax(dim=-1)
