"""Dense linear maps in bfloat16, for the few rows of a decode step and the many of a prompt.

At a few rows the product is bound by reading the weights. PyTorch's bfloat16 product copies them
into another order at each call, and takes twice as long or more; at many rows it is as fast. Here
that order is made once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..pytorch.linear import TorchLinear
from ..registry import implements
from .build import AMX, TARGETS
from .library import Native, check_bfloat16
from .packed import Kind, PackedMap, pack_dense
from .register import register
from .row_major_linear import NativeRowMajorLinear, prefers


@dataclass(frozen=True)
class NativeLinear:
    """`linear` by `native`."""

    native: Native

    def __call__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference; the packed copy is the only one that is kept. Raises KernelError."""
        check_bfloat16(weight)
        size = (weight.shape[0], weight.shape[1])
        return PackedMap(self.native, Kind.DENSE, size, pack_dense(weight), bias=bias)


register("linear", NativeLinear, targets=[target for target in TARGETS if target != AMX])
# Few rows; PyTorch's product takes the others, over the same weights.
register("linear", NativeRowMajorLinear, targets=(AMX,), prefers=prefers)
_amx = Native(AMX)
implements(
    "linear",
    backend="torch-amx",
    when=_amx.runs_in(torch.bfloat16),
    # Before the kernels for processors without tiles, which would keep a packed copy.
    priority=AMX.priority - 5,
    needs=_amx.missing,
)(TorchLinear)
