"""A product whose inputs are split over programs: where its parts lie, and their sum."""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import launch

ADD_BLOCK = 1024


def parts_of(out: Tensor, splits: int, sums: torch.dtype) -> Tensor:
    """What a kernel writes for `out` [M, N]: itself, or parts [splits, M, N] of dtype `sums`."""
    if splits == 1:
        return out
    return torch.empty((splits, *out.shape), dtype=sums, device=out.device)


def add_splits(
    parts: Tensor,
    out: Tensor,
    x_scales: Tensor | None,
    row_scales: Tensor | None,
    bias: Tensor | None,
) -> None:
    """out = sum of parts · x_scales[m] · row_scales[n] + bias[n]; None leaves a step out. Nothing
    is done where there are no parts beside `out` itself."""
    from .splits_kernel import add_splits_kernel

    if parts is out:
        return
    m, n = out.shape
    launch(
        *(add_splits_kernel, (m, -(-n // ADD_BLOCK))),
        *(parts, out, x_scales, row_scales, bias, m, n),
        SPLITS=len(parts),
        BLOCK=ADD_BLOCK,
        warps=4,
        stages=None,
    )
