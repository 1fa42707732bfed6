"""Sampling in Triton: a row a program, no sort, nothing that waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import launch
from .register import implements_triton
from .target import power_of_two, warps_for

LARGEST_BLOCK = 4096


@implements_triton("sample")
def sample(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    uniform: Tensor,
) -> Tensor:
    """As the reference, in float32."""
    from .sample_kernel import sample_kernel

    rows, vocab = logits.shape
    tokens = torch.empty(rows, dtype=torch.int64, device=logits.device)
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    block = min(LARGEST_BLOCK, max(16, power_of_two(vocab)))
    blocks = -(-vocab // block)
    if rows:
        launch(
            *(sample_kernel, (rows,), logits, logits.stride(0)),
            *(temperature, top_k, top_p, min_p, uniform, tokens, vocab),
            BLOCKS=blocks,
            BLOCK=block,
            SUMS=power_of_two(blocks),
            warps=warps_for(block),
            stages=None,
        )
    return tokens
