"""Dense linear maps in bfloat16 for the few rows of a decode step.

At a few rows the product is bound by reading the weights. PyTorch's bfloat16 product, made for
many rows, copies them into another order at each call, and takes half its time or more for that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...registry import KernelError, implements
from .build import AMX, AVX2, AVX512
from .library import Native

# Above these PyTorch's product takes over. Measured at SmolLM2-135M's sizes: where the narrowest
# product loses with tiles, where a second pass over x leaves little with vectors.
MOST_ROWS = {AMX: 64, AVX512: 32, AVX2: 16}


class NativeLinear:
    """`linear` by `native` up to `most_rows` rows of x, above by PyTorch."""

    def __init__(self, native: Native, most_rows: int) -> None:
        self.native = native
        self.most_rows = most_rows

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As the reference. Raises KernelError for what the library would misread."""
        out_features, in_features = weight.shape
        rows = x.numel() // x.shape[-1] if x.shape[-1] else 0
        if not 0 < rows <= self.most_rows:
            return F.linear(x, weight, bias)
        _check(x, weight, bias)
        library = self.native.library
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], out_features)
        library.linear(
            x.data_ptr(),
            weight.data_ptr(),
            None if bias is None else bias.data_ptr(),
            y.data_ptr(),
            rows,
            out_features,
            in_features,
            torch.get_num_threads(),
            library.parallel,
        )
        return y


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """The library is handed bare pointers."""
    out_features, in_features = weight.shape
    if x.shape[-1] != in_features or (bias is not None and bias.shape != (out_features,)):
        raise KernelError(
            f"linear: x {tuple(x.shape)}, weight {tuple(weight.shape)} and bias "
            f"{None if bias is None else tuple(bias.shape)} do not go together"
        )
    for tensor in (x, weight) if bias is None else (x, weight, bias):
        if tensor.dtype != torch.bfloat16 or not tensor.is_cpu:
            raise KernelError(f"linear: {tensor.dtype} on {tensor.device} is not bfloat16 on a CPU")
    if not weight.is_contiguous() or not (bias is None or bias.is_contiguous()):
        raise KernelError("linear: weight and bias must be contiguous")


for _target, _most_rows in MOST_ROWS.items():
    _native = Native(_target)
    implements(
        "linear",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        needs=_native.missing,
    )(NativeLinear(_native, _most_rows))
