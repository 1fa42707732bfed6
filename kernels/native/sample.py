"""Sampling on a CPU: a row of 49 thousand logits lies in the processor's cache, and is read two or
three times and never sorted; PyTorch's operators each pass over all of it and write as much anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import Native
from .register import register

DTYPES = (torch.bfloat16, torch.float32)


def takes(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    uniform: Tensor,
) -> bool:
    """bfloat16 or float32 logits of at least one token, and numbers of each row as they are
    defined."""
    return (
        logits.dtype in DTYPES
        and logits.is_cpu
        and logits.shape[1] > 0
        and (top_k is None or _is_of(torch.int32, top_k))
        and all(
            one is None or _is_of(torch.float32, one)
            for one in (temperature, top_p, min_p, uniform)
        )
    )


class NativeSample:
    """`sample` by `native`, of a call that `takes`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self,
        logits: Tensor,
        temperature: Tensor,
        top_k: Tensor | None,
        top_p: Tensor | None,
        min_p: Tensor | None,
        uniform: Tensor,
    ) -> Tensor:
        """As the reference, in float32."""
        rows, vocab = logits.shape
        if logits.stride(1) != 1:
            logits = logits.contiguous()
        # Held until the library has read them.
        of_rows = [
            None if one is None else one.contiguous()
            for one in (temperature, top_k, top_p, min_p, uniform)
        ]
        tokens, library = torch.empty(rows, dtype=torch.int64), self._native.library
        library.sample(
            *(logits.data_ptr(), logits.stride(0), logits.dtype is torch.float32),
            *(None if one is None else one.data_ptr() for one in of_rows),
            *(tokens.data_ptr(), rows, vocab, torch.get_num_threads(), library.parallel),
        )
        return tokens


def _is_of(dtype: torch.dtype, numbers: Tensor) -> bool:
    return numbers.dtype is dtype and numbers.is_cpu


register("sample", NativeSample, dtypes=DTYPES, takes=takes)
