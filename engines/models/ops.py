"""The operations a model is made of, chosen once for its device and dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, PagedBatch
from ...kernels.registry import select


@dataclass(frozen=True)
class ModelOps:
    """Functions with the signatures of `kernels/reference`."""

    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    silu_mul: Callable[[Tensor], Tensor]
    cache_write: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
    paged_attention: Callable[..., Tensor]
    contiguous_attention: Callable[..., Tensor]

    def attention_for(self, batch: AttentionBatch) -> Callable[..., Tensor]:
        """The attention that reads this batch's layout."""
        return self.paged_attention if isinstance(batch, PagedBatch) else self.contiguous_attention


def select_ops(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> ModelOps:
    """The best implementation of each operation there; `force` names some. Raises KernelError."""
    return ModelOps(
        **{op: select(op, device, dtype, force).function for op in ModelOps.__dataclass_fields__}
    )
