"""The likeliest token: what greedy sampling takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements
from .sample import NO_TOKEN


@implements("argmax", backend="reference", priority=-100)
def argmax(logits: Tensor) -> Tensor:
    """The index of the largest element of each row, int64 [rows]; of equal ones the first.

    logits [rows, vocab], vocab at least 1. A row that `sample` has no distribution of, with a NaN,
    an infinity or nothing above minus infinity, gives NO_TOKEN, -1, here, too: what becomes of it
    must not depend on whether somebody beside it draws.
    """
    wide = logits.float()
    largest = wide.amax(dim=-1, keepdim=True)  # propagates NaN, which equals nothing
    places = (wide == largest).int().argmax(dim=-1)
    return torch.where(largest[:, 0].isfinite(), places, NO_TOKEN)
