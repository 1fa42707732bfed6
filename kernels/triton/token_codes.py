"""Activations in eight bits: a scale a token or group of a token, found on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fp8 import E4M3, LARGEST_E4M3
from ..w8a8 import LARGEST_CODE
from .launch import launch
from .target import power_of_two, warps_for

LARGEST_BLOCK = 4096


def token_codes(
    x: Tensor, dtype: torch.dtype, group: int | None = None, given: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """x [M, K] with unit stride along K -> codes [M, K], scales float32 [M, groups].

    dtype: int8 as `quantize_rows`, float8_e4m3fn as `quantize_activations`, whose bytes come
    back as uint8. group: columns that share a scale, all of them as a default. given: a static
    scale. A group with an infinity has a scale of NaN.
    """
    from .token_codes_kernel import token_codes_kernel

    m, k = x.shape
    group = k if group is None else group
    groups = -(-k // group)
    e4m3 = dtype == E4M3
    codes = torch.empty((m, k), dtype=torch.uint8 if e4m3 else torch.int8, device=x.device)
    scales = torch.empty((m, groups), dtype=torch.float32, device=x.device)
    block = min(LARGEST_BLOCK, power_of_two(max(group, 1)))
    if m:
        launch(
            *(token_codes_kernel, (m, groups), x, x.stride(0), codes, scales, given),
            K=k,
            GROUP=group,
            GROUPS=groups,
            BLOCK=block,
            LARGEST=LARGEST_E4M3 if e4m3 else float(LARGEST_CODE),
            E4M3=e4m3,
            # One program reads a row twice, and a decode step has few: more warps, more loads at
            # once.
            warps=warps_for(block),
            stages=None,
        )
    return codes, scales
