"""GPTQ's order of importance: which group an input belongs to, and the order that puts a group's
members together."""

from __future__ import annotations

import torch
from torch import Tensor

from ....kernels.registry import KernelError


def group_order(g_idx: Tensor, size: int, groups: int) -> Tensor | None:
    """The inputs group by group; None where they stand so already. g_idx: the group of each.

    Raises KernelError for groups of other sizes than `size`, the last as long as is left.
    """
    g_idx = g_idx.long()
    outside = not 0 <= int(g_idx.min()) <= int(g_idx.max()) < groups
    counts = [] if outside else torch.bincount(g_idx, minlength=groups).tolist()
    rest = len(g_idx) - size * (groups - 1)
    if outside or counts != [size] * (groups - 1) + [rest]:
        raise KernelError(f"its g_idx does not put inputs in {groups} groups of {size}")
    order = torch.argsort(g_idx, stable=True)
    in_order = bool((order == torch.arange(len(g_idx), device=order.device)).all())
    return None if in_order else order
